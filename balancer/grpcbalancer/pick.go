package grpcbalancer

import (
	"errors"
	"fmt"

	gbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"

	"github.com/sidestep-lb/sidestep/balancer"
)

// errNowhereElse fails a hedge.
var errNowhereElse = status.Error(codes.Unavailable, "there is no other backend")

// Pick implements gbalancer.Picker. It takes no lock that another call takes,
// and allocates nothing, unless there is nothing to pick from or the call is a
// stream.
func (p *pool) Pick(info gbalancer.PickInfo) (gbalancer.PickResult, error) {
	of := callOf(info.Ctx)
	if of == nil {
		picked, err := p.balancer.Pick(p.request(info.Ctx, nil))
		if err != nil {
			return gbalancer.PickResult{}, p.failure(err)
		}
		return p.result(picked, nil, "")
	}
	picked, why, err := p.choose(info, of)
	if err != nil {
		return gbalancer.PickResult{}, err
	}
	return p.result(picked, of, why)
}

// result makes of a pick what gRPC wants. The call may be nil; why is the reason
// of an attempt after others.
func (p *pool) result(picked balancer.Pick, of *callContext, why balancer.Reason) (gbalancer.PickResult, error) {
	s := picked.Backend().Conn().(*connection).pick()
	switch {
	case s == nil: // it was lost a moment ago, and another picker is on its way
		picked.Undo()
		return gbalancer.PickResult{}, gbalancer.ErrNoSubConnAvailable
	case of == nil && picked.Plain():
		return s.picked, nil
	}
	if why != "" {
		p.balancer.Retried(why)
	}
	if of != nil && of.streaming {
		return of.stream(s, picked, why), nil
	}
	c := p.calls.Get().(*call)
	c.pick, c.sub, c.of = picked, s, of
	if of != nil {
		c.number = of.trace.Begin(picked.Backend(), why)
	}
	return gbalancer.PickResult{SubConn: s.sub, Done: c.done}, nil
}

// choose picks a backend for an attempt of a call. It says why there is an attempt
// after others, if it is one.
func (p *pool) choose(info gbalancer.PickInfo, of *callContext) (picked balancer.Pick, why balancer.Reason, err error) {
	r := p.request(info.Ctx, of)
	if be := of.certain(p); be != nil {
		picked, err = p.take(be)
		return picked, "", err
	}
	h := of.history
	h.mu.Lock()
	defer h.mu.Unlock()
	if r.Tried = h.tried[:h.n]; h.n > 0 && !of.elsewhere {
		of.hedger.retried()
	}
	picked, err = p.balancer.Pick(r)
	switch {
	case err != nil && of.elsewhere:
		return picked, "", errNowhereElse
	case err != nil && h.n > 0:
		r.Tried = nil // better the same one again than none
		picked, err = p.balancer.Pick(r)
	}
	if err == nil {
		why = of.reason()
		h.why = ""
		h.add(picked.Backend())
	}
	return picked, why, p.failure(err)
}

// failure returns what a pick that failed makes of its request: that it waits,
// or else an error that fails it. Waiting is always right while the state is
// another than TRANSIENT_FAILURE, since gRPC hears of the next change.
func (p *pool) failure(cause error) error {
	if cause == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	failed := p.conns[connectivity.TransientFailure]
	switch {
	case errors.Is(cause, balancer.ErrBusy):
		// A status fails the requests that would wait for READY, too, which nobody
		// would tell when there is room again.
		return status.Errorf(codes.Unavailable, "%s: %v", p.target, cause)
	case p.closed || p.state() != connectivity.TransientFailure:
		return gbalancer.ErrNoSubConnAvailable
	case failed == 0:
		return p.reason
	default:
		p.reportUnreachable()
		// Not wrapped: gRPC would take a status in it for the request's own.
		return fmt.Errorf("%s: none of its %d endpoints can be reached: last error: %v", p.target, failed, p.lastErr) //nolint:errorlint // see above
	}
}
