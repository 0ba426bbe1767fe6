package discovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
)

// Fallback returns a Source that asks primary, and secondary where primary does
// not tell. The secondary's Snapshots say so in Degraded. As soon as primary
// answers, it alone is asked.
//
// Before primary has answered for a target, the secondary is asked when primary
// fails, and when it has said nothing for a second, as Happy Eyeballs does
// (RFC 8305). Once primary has been silent for one target, the secondary is asked
// at once for the next ones, until primary answers: what is known of it is known
// for all targets of the process. An empty Snapshot of the secondary does not
// stand in for primary's error unless it had endpoints before: DNS, for one,
// cannot tell an unknown name from a Service without ready pods.
//
// After primary has answered, its last Snapshot stays when it fails. The
// secondary is asked, and stands in with what it finds, if
//
//   - none of the last endpoints was ready, or none can be reached: see
//     [Subscription.Unreachable];
//   - primary refuses time after time (ErrForbidden, ErrUnauthenticated): at least
//     3 times, for at least 5 s, with no successful read in between;
//   - primary has been failing for a minute and users go on reporting trouble with
//     single endpoints ([Subscription.Refresh]).
//
// Of an endpoint that both know, the Snapshot tells what primary knew.
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
	run := &fallbackRun{
		fallback: f, ctx: ctx, target: target, receiver: r,
		reach: reachOf(f.primary),
		hints: newHints(),
	}
	defer run.reach.leave()
	listening, stop := context.WithCancel(ctx)
	var listener sync.WaitGroup
	listener.Go(func() { run.listen(listening) })

	f.primary.Watch(ctx, target, primaryReceiver{run})

	run.primaryEnded()
	run.await() // and listen goes on until then, for the stand-in's sake
	stop()
	listener.Wait()
	run.await() // listen may have asked it just now
}

// A fallbackRun is one Watch of a fallback.
type fallbackRun struct {
	// Set at the start and read-only.
	fallback
	ctx      context.Context
	target   Target
	receiver Receiver
	reach    *reach
	hints    hints // for the primary

	mu      sync.Mutex // held in calls of receiver
	heard   bool       // primary has said something, or will say nothing; guarded by mu, as are all below
	last    *Snapshot  // primary's, nil before it has answered
	failure failure    // of primary since it answered last
	standIn *standIn   // nil if the secondary is not asked; set by primary's goroutine and listen
}

// await waits until the stand-in, if there is one, has ended.
func (r *fallbackRun) await() {
	r.mu.Lock()
	s := r.standIn
	r.mu.Unlock()
	if s != nil {
		<-s.ended
	}
}

// primaryEnded is told that primary has nothing more to say.
func (r *fallbackRun) primaryEnded() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.heard = true
}

// mayAsk reports whether the secondary can stand in where primary fails with err.
func (r *fallbackRun) mayAsk(err error) bool {
	return r.target.Via == "" && !errors.Is(err, ErrUnavailable)
}

// askLocked makes the secondary stand in.
func (r *fallbackRun) askLocked(target Target, alias, why error) {
	if r.ctx.Err() != nil {
		return
	}
	ctx, stop := context.WithCancel(r.ctx)
	s := &standIn{run: r, asked: target, alias: alias, stop: stop, ended: make(chan struct{}), hints: newHints(), why: why}
	r.standIn = s
	go func() {
		defer close(s.ended)
		r.secondary.Watch(ctx, canonical(r.secondary, target), s)
	}()
}

// A primaryReceiver takes what the primary finds.
type primaryReceiver struct{ *fallbackRun }

func (r primaryReceiver) Refresh() <-chan struct{}     { return r.hints.refresh }
func (r primaryReceiver) Unreachable() <-chan struct{} { return r.hints.unreachable }

func (r primaryReceiver) Update(s *Snapshot) {
	r.reach.answered()
	r.mu.Lock()
	old := r.standIn
	if old != nil && old.served && old.why != nil {
		slog.Info("sidestep: discovery no longer degraded", "target", r.target.String())
	}
	r.heard, r.last, r.failure = true, s, failure{}
	var alias interface{ Alias() Target }
	switch {
	case !errors.As(s.Reason, &alias):
		r.standIn = nil
		r.receiver.Update(s)
	case old != nil && old.alias != nil && old.asked == alias.Alias():
		old.why = nil
		old = nil // goes on
	default:
		r.askLocked(alias.Alias(), s.Reason, nil)
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
	r.heard = true
	if kindOf(err) == "timeout" {
		r.reach.silent()
	}
	switch s := r.standIn; {
	case s != nil:
		if s.served && s.why == nil {
			s.warnOf(err)
		}
		s.why = err
		if s.inVain && !s.served {
			r.receiver.Error(err)
		}
	case !r.mayAsk(err):
		r.receiver.Error(err)
	case r.last == nil:
		r.askLocked(r.target, nil, err) // and let requests wait for what it says
	default:
		r.failure.add(err)
		r.receiver.Error(err)
		r.considerLocked()
	}
}

// considerLocked asks the secondary if it is time to.
func (r *fallbackRun) considerLocked() {
	if r.last != nil && r.standIn == nil && r.failure.isReason(r.last) {
		r.askLocked(r.target, nil, r.failure.err)
	}
}

// A standIn is one Watch of the secondary. It is the Receiver of what that finds.
type standIn struct {
	// Set at the start and read-only.
	run   *fallbackRun
	asked Target
	alias error  // primary's Reason if asked is an alias, else nil
	stop  func() // ends it
	ended chan struct{}
	hints hints

	why    error // primary's latest error since it answered; guarded by the run's mu, as are all below
	served bool  // it has had endpoints
	inVain bool  // it has been heard and had none
}

func (s *standIn) Refresh() <-chan struct{}     { return s.hints.refresh }
func (s *standIn) Unreachable() <-chan struct{} { return s.hints.unreachable }

func (s *standIn) Update(found *Snapshot) {
	s.run.mu.Lock()
	defer s.run.mu.Unlock()
	none := len(found.Endpoints) == 0
	last := s.run.last
	if s.alias != nil {
		last = nil
	}
	switch {
	case s.run.standIn != s: // too late
		return
	case none && !s.served && s.alias == nil:
		s.inVain = true
		s.run.receiver.Error(s.why)
		return
	case !s.served && last != nil && sameAddrs(last, found):
		return // it knows of no change either
	case s.why != nil && !s.served:
		s.warnOf(s.why)
	}
	s.served = true
	told := *found
	if last != nil {
		told = inherit(s.run.target, last, found)
	}
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
