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
// There is no fall-back from ErrUnavailable, since where there is no cluster
// there is no DNS of one. Two Fallbacks of the same sources share their watches.
func Fallback(primary, secondary Source) Source { return fallback{primary, secondary} }

type fallback struct{ primary, secondary Source }

// Canonical puts the target into the primary's form.
func (f fallback) Canonical(t Target) Target { return canonical(f.primary, t) }

// Watch implements Source.
func (f fallback) Watch(ctx context.Context, target Target, r Receiver) {
	run := &fallbackRun{fallback: f, ctx: ctx, target: target, receiver: r}
	f.primary.Watch(ctx, target, primaryReceiver{run})
	run.secondaryRun.Wait()
}

// A fallbackRun is one Watch of a fallback.
type fallbackRun struct {
	// Set at the start and read-only.
	fallback
	ctx      context.Context
	target   Target
	receiver Receiver

	secondaryRun sync.WaitGroup

	mu       sync.Mutex
	answered bool               // primary has; guarded by mu, as are all below and calls of receiver
	why      error              // primary's latest, while it has not answered
	stop     context.CancelFunc // ends the secondary; nil if it does not run
	served   bool               // secondary has had endpoints
	inVain   bool               // secondary has been heard and had none
}

// A primaryReceiver takes what the primary finds.
type primaryReceiver struct{ *fallbackRun }

func (r primaryReceiver) Refresh() <-chan struct{} { return r.receiver.Refresh() }

func (r primaryReceiver) Update(s *Snapshot) {
	r.mu.Lock()
	if r.served {
		slog.Info("sidestep: discovery no longer degraded", "target", r.target.String())
	}
	stop := r.stop
	r.answered, r.served, r.stop = true, false, nil
	r.receiver.Update(s)
	r.mu.Unlock()
	if stop != nil {
		stop()
		r.secondaryRun.Wait()
	}
}

func (r primaryReceiver) Error(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.answered || errors.Is(err, ErrUnavailable) {
		r.receiver.Error(err)
		return
	}
	r.why = err
	if r.stop == nil {
		r.startSecondary() // and let requests wait for what it says
	}
	if r.inVain && !r.served {
		r.receiver.Error(err)
	}
}

// startSecondary is called with mu held.
func (r *fallbackRun) startSecondary() {
	ctx, stop := context.WithCancel(r.ctx)
	r.stop = stop
	r.secondaryRun.Go(func() {
		r.secondary.Watch(ctx, canonical(r.secondary, r.target), secondaryReceiver{r})
	})
}

// A secondaryReceiver takes what the secondary finds.
type secondaryReceiver struct{ *fallbackRun }

func (r secondaryReceiver) Refresh() <-chan struct{} { return r.receiver.Refresh() }

func (r secondaryReceiver) Update(s *Snapshot) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.answered {
		return
	}
	if len(s.Endpoints) == 0 && !r.served {
		r.inVain = true
		r.receiver.Error(r.why)
		return
	}
	if !r.served {
		slog.Warn("sidestep: discovery degraded to its fall-back", "target", r.target.String(), "error", r.why)
	}
	r.served = true
	degraded := *s
	degraded.Degraded = fmt.Errorf("from the fall-back, because: %w", r.why)
	if s.Degraded != nil {
		degraded.Degraded = fmt.Errorf("%w; %w", s.Degraded, degraded.Degraded)
	}
	r.receiver.Update(&degraded)
}

func (r secondaryReceiver) Error(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.answered:
	case r.served:
		r.receiver.Error(err)
	default:
		r.inVain = true
		r.receiver.Error(r.why)
	}
}
