package discovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"
)

// Watch subscribes to target. All subscriptions of a process to one target of
// one source share a single run of [Source.Watch]: the first one starts it, the
// last one to close ends it. Watch itself does not block and cannot fail.
func Watch(source Source, target Target) *Subscription {
	return &Subscription{watch: shared.join(source, canonical(source, target)), closed: make(chan struct{})}
}

// A Subscription is one user's part in a shared watch. Its methods may be
// called from any goroutine; First and View by many at once, Next by one.
type Subscription struct {
	watch  *watch
	seen   uint64        // the version that Next returned last; owned by its caller
	once   sync.Once     // for Close
	closed chan struct{} // closed by Close
}

// Target returns the target in the form that its source shares it under.
func (s *Subscription) Target() Target { return s.watch.key.target }

// View returns the present state, which may be empty.
func (s *Subscription) View() View {
	view, _, _ := s.watch.state()
	return view
}

// Next waits for a View that the Subscription has not returned yet. It skips
// those in between when its caller is slow. The error is ErrClosed or ctx's.
func (s *Subscription) Next(ctx context.Context) (View, error) {
	for {
		view, version, changed := s.watch.state()
		if version > s.seen && !s.isClosed() {
			s.seen = version
			return view, nil
		}
		if err := s.wait(ctx, changed); err != nil {
			return View{}, err
		}
	}
}

// How long a first Snapshot is waited for by those who set no limit.
const (
	// overdueAfter is how long a source may fail before a request without a
	// deadline fails, too. It covers a restart of a DNS server or an API server
	// that others take over for.
	overdueAfter = 5 * time.Second
	// silentAfter is how long a source may report nothing at all, which counts as
	// a failure then. It is no less than what a first answer may take.
	silentAfter = 30 * time.Second
)

// errSilent is the error of a source that reports nothing.
var errSilent = fmt.Errorf("the source has reported nothing for %v", silentAfter)

// First waits for the first Snapshot, which is at hand in all but the first
// moments. When ctx ends before that, the error says what the source was
// waiting for; a permanent error (see [IsPermanent]) is returned at once.
//
// A ctx with a deadline is waited for to its end. With one that has none, the
// error of the source is returned once the watch has been failing and there has
// been no Snapshot for 5 s, so that nobody waits forever: a later call that finds
// the watch so returns at once. A source that reports nothing for 30 s has failed.
func (s *Subscription) First(ctx context.Context) (*Snapshot, error) {
	_, limited := ctx.Deadline()
	for {
		view, _, changed := s.watch.state()
		switch {
		case s.isClosed():
			return nil, ErrClosed
		case view.Snapshot != nil:
			return view.Snapshot, nil
		case IsPermanent(view.Err):
			return nil, view.Err
		case view.Overdue && !limited:
			return nil, fmt.Errorf("no endpoints of %s are known: %w", s.Target(), view.Err)
		}
		if err := s.wait(ctx, changed); err != nil {
			if view := s.View(); view.Err != nil {
				return nil, fmt.Errorf("%w while waiting for the endpoints of %s: %w", err, s.Target(), view.Err)
			}
			return nil, fmt.Errorf("%w while waiting for the endpoints of %s", err, s.Target())
		}
	}
}

// Refresh hints to the source that the last Snapshot may be out of date.
func (s *Subscription) Refresh() {
	select {
	case s.watch.refresh <- struct{}{}:
	default: // one hint is waiting already
	}
}

// Unreachable tells the source that none of the endpoints of the last Snapshot can
// be reached. While the source cannot read a newer one, that is a reason to ask
// elsewhere (see [Fallback]). A user may say so time after time.
func (s *Subscription) Unreachable() {
	select {
	case s.watch.unreachable <- struct{}{}:
	default: // one report is waiting already
	}
}

// Close leaves the watch. The last to leave waits until the source has ended.
// Close may be called more than once, and makes a waiting Next or First return
// ErrClosed.
func (s *Subscription) Close() {
	s.once.Do(func() {
		close(s.closed)
		shared.leave(s.watch)
	})
}

func (s *Subscription) isClosed() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}

func (s *Subscription) wait(ctx context.Context, changed <-chan struct{}) error {
	select {
	case <-changed:
		return nil
	case <-s.closed:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

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
