package discovery

import (
	"context"
	"fmt"
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
