package adapter

import (
	"sync"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/health"
)

// ownPolicy is a policy of the program's own. It sees backends and requests through
// the types of package balancer; the built-in policies work on the concrete types.
type ownPolicy struct {
	balancer.Policy
	observer balancer.Observer // the same, or nil if it is none
	requests *sync.Pool        // of *ownRequest, so that a pick allocates nothing
}

func newOwnPolicy(p balancer.Policy) *ownPolicy {
	observer, _ := p.(balancer.Observer)
	return &ownPolicy{Policy: p, observer: observer, requests: &sync.Pool{New: func() any { return new(ownRequest) }}}
}

// usesLatencies implements latencyPolicy: an Observer is told them.
func (p *ownPolicy) usesLatencies() bool { return p.observer != nil }

// Picker implements policy.
func (p *ownPolicy) Picker(backends []*Backend) picker {
	views := make([]*balancer.Backend, len(backends))
	for i, b := range backends {
		views[i] = b.view
	}
	return ownPicker{p.Policy.Picker(views), p.requests}
}

type ownPicker struct {
	balancer.Picker
	requests *sync.Pool
}

// Pick implements picker.
func (p ownPicker) Pick(r Request) *Backend {
	state := p.requests.Get().(*ownRequest)
	state.Request = r
	b := p.Picker.Pick(balancer.Request{Key: r.Key, HasKey: r.HasKey, Class: r.Class, Stream: r.Stream, RequestState: state})
	state.Request = Request{} // it should not keep the backends that were tried
	p.requests.Put(state)
	if be := viewed(b); be != nil && be.balancer == r.balancer {
		return be
	}
	return nil
}

// viewed returns the Backend that b is a view of, or nil.
func viewed(b *balancer.Backend) *Backend {
	if b == nil {
		return nil
	}
	be, _ := b.BackendState.(*Backend)
	return be
}

// ownRequest implements balancer.RequestState.
type ownRequest struct{ Request }

// Admits implements balancer.RequestState.
func (r *ownRequest) Admits(b *balancer.Backend) bool {
	be := viewed(b)
	return be != nil && r.Request.Admits(be)
}

// Now implements balancer.RequestState.
func (r *ownRequest) Now() int64 {
	if r.now != 0 {
		return r.now
	}
	return r.balancer.hooks.Now()
}

// observeEnd tells the policy, an Observer, how the request ends.
func (p *Pick) observeEnd(r Result) {
	b, outcome, took := p.backend, r.Outcome, p.heard-p.start
	switch {
	case p.state <= probing: // there was no answer before
		took = b.balancer.hooks.Now() - p.start
	case p.state == answered && outcome == health.Neutral:
		outcome = p.outcome
	}
	b.balancer.observer.Observe(b.view, outcome, time.Duration(took))
}
