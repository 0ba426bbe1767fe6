package discovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
)

// Fallback returns a Source that asks primary, and secondary in its place where
// primary may not be asked (ErrForbidden) or cannot be reached from the start.
// The secondary's Snapshots say so in Degraded. As soon as primary answers, it
// alone is asked; later failures of primary keep its last Snapshot. An empty
// Snapshot of the secondary does not stand in for primary's error unless it had
// endpoints before: DNS, for one, cannot tell an unknown name from a Service
// without ready pods.
//
// The secondary is also asked for the host that a Service is an alias of, for
// as long as it is one: that is what primary says with a Reason that wraps an
// error with a method Alias() Target, such as kube.ExternalNameError. This is
// not less than was asked for, unless primary fails meanwhile.
//
// There is no fall-back from ErrUnavailable, since where there is no cluster
// there is no DNS of one, nor for a target with a Via, since DNS knows no way
// into a cluster. Two Fallbacks of the same sources share their watches.
func Fallback(primary, secondary Source) Source { return fallback{primary, secondary} }

type fallback struct{ primary, secondary Source }

// Watch implements Source.
func (f fallback) Watch(ctx context.Context, target Target, r Receiver) {
	run := &fallbackRun{fallback: f, ctx: ctx, target: target, receiver: r}
	f.primary.Watch(ctx, target, primaryReceiver{run})
	if run.standIn != nil {
		<-run.standIn.ended
	}
}

// A fallbackRun is one Watch of a fallback.
type fallbackRun struct {
	// Set at the start and read-only.
	fallback
	ctx      context.Context
	target   Target
	receiver Receiver

	mu       sync.Mutex
	answered bool     // primary has; guarded by mu, as are calls of receiver
	standIn  *standIn // nil if the secondary is not asked; guarded by mu, set by primary's goroutine
}

// A standIn is one Watch of the secondary. It is the Receiver of what that finds.
type standIn struct {
	// Set at the start and read-only.
	run   *fallbackRun
	asked Target
	alias error  // primary's Reason if asked is an alias, else nil
	stop  func() // ends it
	ended chan struct{}

	why    error // primary's latest error since it answered; guarded by the run's mu, as are all below
	served bool  // it has had endpoints
	inVain bool  // it has been heard and had none
}

// ask makes the secondary stand in. It is called with mu held.
func (r *fallbackRun) ask(target Target, alias, why error) {
	ctx, stop := context.WithCancel(r.ctx)
	s := &standIn{run: r, asked: target, alias: alias, stop: stop, ended: make(chan struct{}), why: why}
	r.standIn = s
	go func() {
		defer close(s.ended)
		r.secondary.Watch(ctx, canonical(r.secondary, target), s)
	}()
}

// A primaryReceiver takes what the primary finds.
type primaryReceiver struct{ *fallbackRun }

func (r primaryReceiver) Refresh() <-chan struct{} { return r.receiver.Refresh() }

func (r primaryReceiver) Update(s *Snapshot) {
	r.mu.Lock()
	old := r.standIn
	if old != nil && old.served && old.why != nil {
		slog.Info("sidestep: discovery no longer degraded", "target", r.target.String())
	}
	r.answered = true
	var alias interface{ Alias() Target }
	switch {
	case !errors.As(s.Reason, &alias):
		r.standIn = nil
		r.receiver.Update(s)
	case old != nil && old.alias != nil && old.asked == alias.Alias():
		old.why = nil
		old = nil // goes on
	default:
		r.ask(alias.Alias(), s.Reason, nil)
	}
	r.mu.Unlock()
	if old != nil {
		old.stop()
		<-old.ended
	}
}

func (r primaryReceiver) Error(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch s := r.standIn; {
	case s != nil:
		if s.served && s.why == nil {
			s.warnOf(err)
		}
		s.why = err
		if s.inVain && !s.served {
			r.receiver.Error(err)
		}
	case r.answered, errors.Is(err, ErrUnavailable), r.target.Via != "":
		r.receiver.Error(err)
	default:
		r.ask(r.target, nil, err) // and let requests wait for what it says
	}
}

func (s *standIn) Refresh() <-chan struct{} { return s.run.receiver.Refresh() }

func (s *standIn) Update(found *Snapshot) {
	s.run.mu.Lock()
	defer s.run.mu.Unlock()
	none := len(found.Endpoints) == 0
	switch {
	case s.run.standIn != s: // too late
		return
	case none && !s.served && s.alias == nil:
		s.inVain = true
		s.run.receiver.Error(s.why)
		return
	case s.why != nil && !s.served:
		s.warnOf(s.why)
	}
	s.served = true
	told := *found
	if s.alias != nil && none {
		told.Reason = fmt.Errorf("%w; %w", s.alias, found.Unusable(s.asked))
	}
	if s.why != nil {
		told.Degraded = fmt.Errorf("from the fall-back, because: %w", s.why)
		if found.Degraded != nil {
			told.Degraded = fmt.Errorf("%w; %w", found.Degraded, told.Degraded)
		}
	}
	s.run.receiver.Update(&told)
}

func (s *standIn) Error(err error) {
	s.run.mu.Lock()
	defer s.run.mu.Unlock()
	switch {
	case s.run.standIn != s: // too late
	case s.served, s.alias != nil:
		s.run.receiver.Error(err)
	default:
		s.inVain = true
		s.run.receiver.Error(s.why)
	}
}

func (s *standIn) warnOf(why error) {
	slog.Warn("sidestep: discovery degraded to its fall-back", "target", s.run.target.String(), "error", why)
}
