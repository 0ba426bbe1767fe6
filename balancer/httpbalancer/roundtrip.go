package httpbalancer

import (
	"errors"
	"net/http"

	"github.com/sidestep-lb/sidestep/discovery"
)

// maxAttempts is to how many backends one request is sent at most.
const maxAttempts = 5

// roundTrip sends a request that has entered the pool.
func (p *pool) roundTrip(req *http.Request) (*http.Response, error) {
	defer p.users.leave()
	p.budget.Deposit()
	body := newRequestBody(req)
	r := p.request(req)
	var last error
	for n := range maxAttempts {
		picked, err := p.pick(req.Context(), r)
		if err != nil {
			body.discard()
			if last == nil || errors.Is(err, discovery.ErrClosed) {
				last = &requestError{err: err}
			}
			break
		}
		backend := picked.Backend()
		x := &exchange{conn: backend.Conn().(*backendConn), pick: picked}
		resp, err := x.send(req, body)
		if err == nil {
			return resp, nil
		}
		last = &requestError{target: p.target, backend: backend.Endpoint(), err: err}
		fate := x.fate(req, body, err)
		if fate.unreachable() {
			p.endpoints.Refresh()
		}
		x.fail(req, fate, err)
		r.Tried = append(r.Tried, backend)
		if n+1 == maxAttempts || !p.mayRetry(req, fate) || !body.rewind(req) {
			body.release()
			break
		}
	}
	return nil, last
}

// mayRetry decides by what became of an attempt whether there may be another.
func (p *pool) mayRetry(req *http.Request, f fate) bool {
	switch f {
	case unsent, refused:
		return true
	case broken:
		return isIdempotent(req) && p.budget.Withdraw(p.now())
	default:
		return false
	}
}

// isIdempotent follows net/http's own rule, see http.Transport.
func isIdempotent(req *http.Request) bool {
	switch req.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	_, key := req.Header["Idempotency-Key"]
	_, xkey := req.Header["X-Idempotency-Key"]
	return key || xkey
}
