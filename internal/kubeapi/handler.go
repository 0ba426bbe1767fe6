package kubeapi

import (
	"encoding/json"
	"errors"
	"sync"
)

// A Handler takes what a ListWatch finds out. It is called once at a time, and
// owns the objects it is given.
type Handler[T Object] interface {
	// Replace brings all objects there are, in no order. It comes first, and
	// again whenever events may have been missed.
	Replace(objects []T)
	// Apply brings the change of one object; kind is Added, Modified or Deleted.
	Apply(kind string, object T)
	// Failed says why news has stopped coming. The ListWatch goes on trying. An
	// answer other than success is a *StatusError.
	Failed(err error)
	// Healthy says that news is coming, be it again or still.
	Healthy()
}

// A sink is a Handler of objects of a type that only it knows.
type sink interface {
	// gather holds back what is applied from now on, until replace hands it on
	// as all there is. What an earlier call has gathered is dropped.
	gather()
	replace()
	// apply takes the change of one object and returns what it says of itself.
	apply(kind string, object json.RawMessage) (identity, error)
	// hold holds back what is applied from now on, until release hands it on as
	// the changes it is, and says Healthy. release does nothing where nothing is
	// held, and may be called from any goroutine.
	hold()
	release()

	Failed(err error)
	Healthy()
}

// typed is the sink of a Handler. As all objects are pointers, the linker puts its
// code into a program once and not for each type.
type typed[T Object] struct {
	Handler[T]
	max      int          // of those gathered; 0 is any number
	gathered map[string]T // by name; nil if nothing is being gathered

	mu      sync.Mutex // held in calls of Apply
	holding bool       // guarded by mu, as is held
	held    []change[T]
}

// An identity is what ListWatch has to know of an object.
type identity struct{ name, version string }

// A change is what Handler.Apply is given.
type change[T Object] struct {
	kind   string
	object T
}

var errNameless = errors.New("the object has no name")

func (t *typed[T]) gather() { t.gathered = make(map[string]T) }

func (t *typed[T]) replace() {
	objects := make([]T, 0, len(t.gathered))
	for _, object := range t.gathered {
		objects = append(objects, object)
	}
	t.gathered = nil
	t.Replace(objects)
}

func (t *typed[T]) apply(kind string, encoded json.RawMessage) (identity, error) {
	var object T
	if string(encoded) == "null" {
		return identity{}, errNameless
	}
	if err := json.Unmarshal(encoded, &object); err != nil {
		return identity{}, err
	}
	compact(object)
	meta := identity{object.meta().Name, object.meta().ResourceVersion} // afterwards it is the Handler's
	switch {
	case meta.name == "":
		return identity{}, errNameless
	case t.gathered == nil:
		t.applyOrHold(change[T]{kind, object})
	case kind == Deleted:
		delete(t.gathered, meta.name)
	case t.max > 0 && len(t.gathered) >= t.max:
		return identity{}, ErrTooMany
	default:
		t.gathered[meta.name] = object
	}
	return meta, nil
}

func (t *typed[T]) applyOrHold(c change[T]) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.holding {
		t.held = append(t.held, c)
		return
	}
	t.Apply(c.kind, c.object)
}

func (t *typed[T]) hold() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.holding = true
}

func (t *typed[T]) release() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.holding {
		return
	}
	for _, c := range t.held {
		t.Apply(c.kind, c.object)
	}
	t.holding, t.held = false, nil
	t.Healthy()
}
