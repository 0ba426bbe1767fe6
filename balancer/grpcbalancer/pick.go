package grpcbalancer

import (
	"errors"
	"fmt"
	"math/rand/v2"

	gbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/adapter"
)

// errNowhereElse fails a hedge.
var errNowhereElse = status.Error(codes.Unavailable, "there is no other backend")

// Pick implements gbalancer.Picker. It takes no lock that another call takes,
// and allocates nothing, unless there is nothing to pick from or the call is a
// stream.
func (p *pool) Pick(info gbalancer.PickInfo) (gbalancer.PickResult, error) {
	of := p.callIn(info.Ctx)
	if of == nil {
		r := p.request(&info, nil)
		picked, err := p.balancer.Pick(r)
		if err != nil {
			return gbalancer.PickResult{}, p.failure(err)
		}
		if p.maxConns > 1 {
			picked = p.elsewhereIfFull(picked, r)
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
func (p *pool) result(picked adapter.Pick, of *callContext, why balancer.Reason) (gbalancer.PickResult, error) {
	s := picked.Backend().Conn().(*connection).pick()
	if s == nil { // it was lost a moment ago, and another picker is on its way
		picked.Undo()
		return gbalancer.PickResult{}, gbalancer.ErrNoSubConnAvailable
	}
	l := s.link.Load()
	if of == nil && picked.Plain() {
		return l.picked, nil
	}
	if why != "" {
		p.balancer.Retried(why)
	}
	if of != nil {
		of.release(errTriedAgain)
		if of.streaming {
			return of.newAttempt(l, picked, why), nil
		}
	}
	c := p.calls.Get().(*call)
	c.pick, c.link, c.of = picked, l, of
	if of != nil {
		c.number = adapter.BeginAttempt(of.trace, picked.Backend(), why)
	}
	return gbalancer.PickResult{SubConn: s.sub, Done: c.done}, nil
}

// choose picks a backend for an attempt of a call. It says why there is an attempt
// after others, if it is one.
func (p *pool) choose(info gbalancer.PickInfo, of *callContext) (picked adapter.Pick, why balancer.Reason, err error) {
	r := p.request(&info, of)
	if be := of.certain(p); be != nil {
		picked, err = p.take(be)
		return picked, "", err
	}
	h := of.history
	h.mu.Lock()
	defer h.mu.Unlock()
	if r.Tried = h.tried[:h.n]; h.n > 0 && !of.elsewhere && !h.paid && !h.last.ending.free() {
		of.channel.retried()
	}
	if next := h.next; next != nil && next.Backend().Conn().(*connection).pool == p && next.Backend().Fit() {
		picked, h.next = *next, nil
	} else {
		h.dropLocked()
		picked, err = p.balancer.Pick(r)
	}
	switch {
	case err != nil && of.elsewhere:
		return picked, "", errNowhereElse
	case err != nil && h.n > 0:
		r.Tried = nil // better the same one again than none
		picked, err = p.balancer.Pick(r)
	}
	if err != nil {
		return picked, "", p.failure(err)
	}
	if p.maxConns > 1 {
		picked = p.elsewhereIfFull(picked, r)
	}
	why = of.reason()
	h.why, h.paid, h.pool = "", false, p
	h.add(picked.Backend())
	return picked, why, nil
}

// maxFull is how many backends a pick passes over because they are full.
const maxFull = 8

// elsewhereIfFull returns a pick of a backend with room on its connections in
// place of one that has none, if there is one: the stream would have to wait
// there for another to end. A full backend that may have another connection gets
// it nevertheless.
func (p *pool) elsewhereIfFull(picked adapter.Pick, r adapter.Request) adapter.Pick {
	if picked.Backend().Conn().(*connection).room() {
		return picked
	}
	tried := append(make([]*adapter.Backend, 0, len(r.Tried)+maxFull), r.Tried...)
	tried = append(tried, picked.Backend())
	for range maxFull {
		r.Tried = tried
		other, err := p.balancer.Pick(r)
		if err != nil {
			break
		}
		if other.Backend().Conn().(*connection).room() {
			picked.Undo()
			return other
		}
		tried = append(tried, other.Backend())
		// All of these are full, and the one with the fewest requests gets another.
		if mine, its := picked.Backend().InFlight(), other.Backend().InFlight(); its < mine || its == mine && rand.N(2) == 0 {
			picked, other = other, picked
		}
		other.Undo()
	}
	return picked
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
		return plain(p.reason)
	default:
		p.reportUnreachable()
		// Not wrapped: gRPC would take a status in it for the request's own.
		return fmt.Errorf("%s: none of its %d endpoints can be reached: last error: %v", p.target, failed, p.lastErr) //nolint:errorlint // see above
	}
}

// plain takes the status out of an error of a name resolver. gRPC would end each
// request with it, also one that waits for READY, and a code that gRFC A54
// reserves for servers would become INTERNAL. Without it the request fails with
// UNAVAILABLE, or waits.
func plain(err error) error {
	if err == nil {
		return errNoAddresses
	}
	if _, ok := status.FromError(err); !ok {
		return err
	}
	return fmt.Errorf("name resolver error: %v", err) //nolint:errorlint // see above
}
