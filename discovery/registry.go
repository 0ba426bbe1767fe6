package discovery

import (
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"
)

// shared holds the running watches of the process. It is no setting: nothing
// about it can be chosen, and it has no watches when nobody watches.
var shared = registry{watches: make(map[watchKey]*watch)}

type registry struct {
	mu      sync.Mutex
	watches map[watchKey]*watch // guarded by mu
	memory  memory              // guarded by mu
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
	if !shareable {
		return startWatch(key, remembered{})
	}
	w := startWatch(key, r.memory.recall(key))
	r.watches[key] = w
	return w
}

func (r *registry) leave(w *watch) {
	r.mu.Lock()
	w.users--
	last := w.users == 0
	if last && reflect.TypeOf(w.key.source).Comparable() {
		delete(r.watches, w.key)
		r.memory.keep(w)
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
	// Read is when the last successful read was, and Changed when the last one
	// that brought something new. A source that is pushed its changes reads when
	// there is one.
	Read, Changed time.Time
	// Updates counts the successful reads, and Errors those that failed, by the
	// kind of the error: "forbidden", "unavailable", "timeout" or "other".
	Updates uint64
	Errors  map[string]uint64
}

// Statuses returns the state of every shared watch of the process, by target.
func Statuses() []Status {
	r := &shared
	r.mu.Lock()
	defer r.mu.Unlock()
	statuses := make([]Status, 0, len(r.watches))
	for key, w := range r.watches {
		s := w.status()
		s.Target, s.Users = key.target, w.users
		statuses = append(statuses, s)
	}
	slices.SortFunc(statuses, func(a, b Status) int { return strings.Compare(a.Target.String(), b.Target.String()) })
	return statuses
}
