package httpbalancer

import (
	"errors"
	"net/http"
	"slices"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/adapter"
	"github.com/sidestep-lb/sidestep/discovery"
)

// pick returns a backend that has not been tried yet. After some failureKind it may be
// one that was, if there is no other.
func (j *call) pick(req *http.Request, last failureKind) (adapter.Pick, error) {
	for {
		j.mu.Lock()
		r := j.request
		j.mu.Unlock()
		picked, err := j.pool.pick(req.Context(), r)
		if err == nil || errors.Is(err, discovery.ErrClosed) || len(r.Tried) == 0 {
			return picked, err
		}
		if errors.Is(err, balancer.ErrNoneFit) {
			if picked, ok := j.pool.pickUnpublished(r.Tried); ok {
				return picked, nil
			}
		}
		if !j.retry(last) {
			return picked, err
		}
	}
}

// retry allows for backends that have been tried: after one that is not the fault of a backend, for all,
// and if nothing was sent for those that took long. It reports whether there are
// any.
func (j *call) retry(last failureKind) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case last.notTheBackendsFault():
		j.request.Tried = nil // the other attempt of a hedged request may be looking at the old one
	case last.free() && len(j.passed) > 0:
		passed := j.passed
		j.request.Tried = slices.DeleteFunc(slices.Clone(j.request.Tried), func(b *adapter.Backend) bool { return slices.Contains(passed, b) })
	default:
		return false
	}
	j.passed = nil
	return true
}

// pickUnpublished returns a backend as the next rotation will have it. In the
// moments after the last fit backend of the rotation has refused, that has nobody
// else, though others may be fit meanwhile. And if none is, all are used (fail
// open), those first that can be reached.
func (p *pool) pickUnpublished(tried []*adapter.Backend) (picked adapter.Pick, ok bool) {
	var found *adapter.Backend
	limit := int64(p.transport.config.Balancer.MaxInFlight)
	for _, b := range p.balancer.Backends() {
		wasTried := slices.Contains(tried, b)
		switch {
		case b.Left(), limit > 0 && b.InFlight() >= limit:
		case b.Fit() && !wasTried:
			return p.takeBackend(b)
		case b.Fit():
			return picked, false // the rotation is as it should be
		case wasTried:
		case found == nil, b.Reachable() && !found.Reachable():
			found = b
		}
	}
	if found == nil {
		return picked, false
	}
	return p.takeBackend(found)
}

// takeBackend is a pick of this very backend.
func (p *pool) takeBackend(b *adapter.Backend) (picked adapter.Pick, ok bool) {
	if !b.Conn().(*backendConn).users.enter() {
		return picked, false // it has left and drained
	}
	p.users.enter() // cannot fail: the request itself is inside
	return p.balancer.Take(b), true
}
