package discovery

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"time"
)

// A watch is one run of a source. It implements Receiver.
type watch struct {
	// Set at the start and read-only.
	key     watchKey
	stop    func()     // ends the source and waits for it
	past    remembered // of a watch of the same target that has ended
	refresh chan struct{}

	unreachable chan struct{}

	users int // guarded by the registry's mu

	mu      sync.Mutex
	view    View          // guarded by mu
	version uint64        // counts the changes of view; guarded by mu
	changed chan struct{} // closed at the next change of view; guarded by mu
	told    Status        // but for View; guarded by mu
	late    *time.Timer   // of the first Snapshot, nil once it has come; guarded by mu
	waited  bool          // for overdueAfter; guarded by mu
}

func startWatch(key watchKey, past remembered) *watch {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	w := &watch{
		key:     key,
		past:    past,
		users:   1,
		refresh: make(chan struct{}, 1),
		changed: make(chan struct{}),

		unreachable: make(chan struct{}, 1),
	}
	w.stop = func() {
		cancel()
		<-ended
		w.mu.Lock()
		defer w.mu.Unlock()
		w.stopWaitingLocked()
	}
	w.mu.Lock()
	w.late = time.AfterFunc(overdueAfter, w.overdue)
	w.mu.Unlock()
	go func() {
		defer close(ended)
		if past.snapshot != nil {
			late := time.AfterFunc(memoryDelay, func() {
				w.mu.Lock()
				defer w.mu.Unlock()
				if ctx.Err() == nil {
					w.fallBackLocked(w.view.Err)
				}
			})
			defer late.Stop()
		}
		key.source.Watch(ctx, key.target, w)
	}()
	return w
}

func (w *watch) state() (View, uint64, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.view, w.version, w.changed
}

// Update implements Receiver. A read that brings nothing new wakes nobody.
func (w *watch) Update(s *Snapshot) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopWaitingLocked()
	same := s.Equal(w.view.Snapshot)
	w.told.Updates++
	w.told.Read = time.Now()
	if !same {
		w.told.Changed = w.told.Read
	}
	if same {
		s = w.view.Snapshot // users may compare pointers to see that nothing changed
	}
	if w.view.Err != nil {
		slog.Info("sidestep: discovery recovered", "target", w.key.target.String(), "endpoints", len(s.Endpoints))
	} else if same {
		return
	}
	w.set(View{Snapshot: s})
}

// Error implements Receiver.
func (w *watch) Error(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.told.Errors == nil {
		w.told.Errors = make(map[string]uint64)
	}
	w.told.Errors[kindOf(err)]++
	w.failLocked(err)
}

// failLocked makes err the latest error of the watch.
func (w *watch) failLocked(err error) {
	overdue := w.waited && w.view.Snapshot == nil
	if errorText(err) == errorText(w.view.Err) && overdue == w.view.Overdue {
		return
	}
	if w.view.Err == nil || IsPermanent(err) {
		kept := w.view.Snapshot != nil || w.past.snapshot != nil
		slog.Warn("sidestep: discovery failed", "target", w.key.target.String(), "keeping_last_endpoints", kept, "error", err)
	}
	if w.view.Snapshot == nil && w.past.snapshot != nil {
		w.fallBackLocked(err)
		return
	}
	w.set(View{Snapshot: w.view.Snapshot, Err: err, Overdue: overdue})
}

// overdue is called when there has been no Snapshot for overdueAfter, and again
// after silentAfter.
func (w *watch) overdue() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.late == nil { // it has come, or the watch has ended
		return
	}
	first := !w.waited
	w.waited = true
	switch {
	case w.view.Err != nil:
		w.failLocked(w.view.Err)
	case first:
		w.late.Reset(silentAfter - overdueAfter)
	default:
		w.failLocked(errSilent)
	}
}

func (w *watch) stopWaitingLocked() {
	if w.late != nil {
		w.late.Stop()
		w.late = nil
	}
}

// kindOf is what an error counts as.
func kindOf(err error) string {
	var timeout interface{ Timeout() bool }
	switch {
	case errors.Is(err, ErrForbidden):
		return "forbidden"
	case errors.Is(err, ErrUnavailable):
		return "unavailable"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	default:
		return "other"
	}
}

// status returns what is known but for target and users.
func (w *watch) status() Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.told
	s.View = w.view
	s.Errors = maps.Clone(s.Errors)
	return s
}

// Refresh implements Receiver.
func (w *watch) Refresh() <-chan struct{} { return w.refresh }

// Unreachable is for [Fallback], which asks a Receiver for it.
func (w *watch) Unreachable() <-chan struct{} { return w.unreachable }

// set is called with mu held.
func (w *watch) set(v View) {
	w.view = v
	w.version++
	close(w.changed)
	w.changed = make(chan struct{})
}
