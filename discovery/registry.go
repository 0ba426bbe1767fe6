package discovery

import (
	"iter"
	"maps"
	"reflect"
	"slices"
	"sync"

	"github.com/sidestep-lb/sidestep/internal/telemetry"
)

// shared holds the running watches of the process. It is no setting: nothing
// about it can be chosen, and it is empty when nobody watches.
var shared = registry{watches: make(map[watchKey]*watch)}

type registry struct {
	metrics sync.Once
	mu      sync.Mutex
	watches map[watchKey]*watch // guarded by mu
}

type watchKey struct {
	source Source
	target Target
}

func (r *registry) join(source Source, target Target) *watch {
	r.metrics.Do(func() { telemetry.Observe(r.report) })
	key := watchKey{source, target}
	r.mu.Lock()
	defer r.mu.Unlock()
	// A source whose values cannot be compared cannot be found again either.
	comparable := reflect.TypeOf(source).Comparable()
	if comparable {
		if w, ok := r.watches[key]; ok {
			w.users++
			return w
		}
	}
	w := startWatch(key)
	if comparable {
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

// report yields the state of every shared watch.
func (r *registry) report() iter.Seq[telemetry.Target] {
	r.mu.Lock()
	watches := slices.Collect(maps.Values(r.watches))
	r.mu.Unlock()
	return func(yield func(telemetry.Target) bool) {
		for _, w := range watches {
			view, _, _ := w.state()
			t := telemetry.Target{Name: w.key.target.String(), Stale: view.Err != nil}
			if view.Snapshot != nil {
				t.Ready = view.Snapshot.Ready()
				t.NotReady = len(view.Snapshot.Endpoints) - t.Ready
			}
			if !yield(t) {
				return
			}
		}
	}
}
