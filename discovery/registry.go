package discovery

import (
	"reflect"
	"slices"
	"strings"
	"sync"
)

// shared holds the running watches of the process. It is no setting: nothing
// about it can be chosen, and it is empty when nobody watches.
var shared = registry{watches: make(map[watchKey]*watch)}

type registry struct {
	mu      sync.Mutex
	watches map[watchKey]*watch // guarded by mu
}

type watchKey struct {
	source Source
	target Target
}

func (r *registry) join(source Source, target Target) *watch {
	key := watchKey{source, target}
	r.mu.Lock()
	defer r.mu.Unlock()
	// A source whose values cannot be compared cannot be found again either.
	shareable := reflect.TypeOf(source).Comparable()
	if shareable {
		if w, ok := r.watches[key]; ok {
			w.users++
			return w
		}
	}
	w := startWatch(key)
	if shareable {
		r.watches[key] = w
	}
	return w
}

func (r *registry) leave(w *watch) {
	r.mu.Lock()
	w.users--
	last := w.users == 0
	if last && reflect.TypeOf(w.key.source).Comparable() {
		delete(r.watches, w.key)
	}
	r.mu.Unlock()
	if last {
		w.stop()
	}
}

// A Status is the state of one watched target.
type Status struct {
	Target Target
	// Users counts the subscriptions.
	Users int
	View
}

// Statuses returns the state of every shared watch of the process, by target.
func Statuses() []Status {
	r := &shared
	r.mu.Lock()
	defer r.mu.Unlock()
	statuses := make([]Status, 0, len(r.watches))
	for key, w := range r.watches {
		view, _, _ := w.state()
		statuses = append(statuses, Status{Target: key.target, Users: w.users, View: view})
	}
	slices.SortFunc(statuses, func(a, b Status) int { return strings.Compare(a.Target.String(), b.Target.String()) })
	return statuses
}
