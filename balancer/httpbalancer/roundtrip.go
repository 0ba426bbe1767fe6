package httpbalancer

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/discovery"
)

// A journey is a request with all its attempts.
type journey struct {
	// Set at the start and read-only.
	pool       *pool
	req        *http.Request   // the caller's
	trace      *balancer.Trace // nil if nobody wants one
	cookie     string          // the key that the caller is to come back with; empty if it has one
	repeatable bool            // the request may be sent again though it was sent before

	mu       sync.Mutex
	request  balancer.Request // with the backends that were tried; guarded by mu
	attempts int              // guarded by mu

	first exchange                              // of most requests the only one
	tried [defaultMaxAttempts]*balancer.Backend // room for request.Tried
}

// roundTrip sends a request that has entered the pool.
func (p *pool) roundTrip(req *http.Request) (*http.Response, error) {
	defer p.users.leave()
	p.budget.Deposit()
	if p.warmer != nil {
		p.warmer.learn(laneOf(req))
	}
	j := &journey{pool: p, req: req, trace: balancer.TraceFrom(req.Context())}
	if traced := p.transport.config.Traced; traced != nil {
		if j.trace == nil {
			j.trace = new(balancer.Trace)
		}
		defer func() { traced(req.Context(), j.trace) }()
	}
	j.request = p.request(req)
	j.request.Tried = j.tried[:0]
	j.setCookie()
	j.repeatable = isIdempotent(req) && (req.Body == nil || req.Body == http.NoBody || req.GetBody != nil)
	if p.hedge != nil && j.repeatable {
		return j.hedged()
	}
	return j.travel(req, newRequestBody(req), "")
}

// travel sends the request to one backend after the other until one answers.
func (j *journey) travel(req *http.Request, body *requestBody, why balancer.Reason) (*http.Response, error) {
	x, err := j.next(req, final)
	if err != nil {
		body.discard()
		return nil, &requestError{err: err}
	}
	for {
		if why != "" {
			j.pool.balancer.Retried(why)
		}
		seen := j.trace.Begin(x.pick.Backend(), why)
		resp, err := j.send(x, req, body)
		j.trace.End(seen, statusOf(resp), err)
		if err != nil {
			f := x.fate(req, body, err)
			if f.unreachable() {
				j.pool.endpoints.Refresh()
			}
			x.fail(f)
			again, closed := j.again(x, req, f, body)
			if again == nil {
				if f.unreachable() {
					j.pool.reportUnreachable()
				}
				body.discard()
				return nil, cmp.Or[error](closed, &requestError{j.pool.target, x.endpoint(), err})
			}
			x, why = again, f.reason()
			continue
		}
		result := resultOf(&j.pool.transport.config, resp)
		if result.RetryAfter > 0 {
			x.backend.spare(result.RetryAfter)
		}
		x.pick.Answered(result)
		if !j.wants(resp) {
			return j.arrive(x, resp, body), nil
		}
		again, _ := j.again(x, req, failed, body)
		if again == nil {
			return j.arrive(x, resp, body), nil // better than nothing
		}
		x.answer(j.req, resp)
		drain(resp)
		x, why = again, failed.reason()
	}
}

func statusOf(resp *http.Response) int {
	if resp == nil {
		return 0
	}
	return resp.StatusCode
}

// next returns an exchange with a backend that has not been tried yet. After an
// innocent fate it may be one that was, if there is no other.
func (j *journey) next(req *http.Request, last fate) (*exchange, error) {
	j.mu.Lock()
	r := j.request
	j.mu.Unlock()
	picked, err := j.pool.pick(req.Context(), r)
	if err != nil && last.innocent() && !errors.Is(err, discovery.ErrClosed) {
		r.Tried = nil
		picked, err = j.pool.pick(req.Context(), r)
	}
	if err != nil {
		return nil, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	x := &j.first
	if j.attempts > 0 {
		x = new(exchange)
	}
	j.attempts++
	j.request.Tried = append(j.request.Tried, picked.Backend())
	x.backend, x.pick = picked.Backend().Conn().(*backendConn), picked
	return x, nil
}

// send sends the request and gives the exchange up after Retry.TryTimeout, if
// another backend may be asked then.
func (j *journey) send(x *exchange, req *http.Request, body *requestBody) (*http.Response, error) {
	limit := j.pool.transport.config.Retry.TryTimeout
	if limit == 0 || !j.repeatable || !j.more() {
		return x.send(req, body)
	}
	x.mayCancel(&req)
	timer := time.AfterFunc(limit, func() { j.giveUp(x, req) })
	resp, err := x.send(req, body)
	timer.Stop()
	if err == nil && !x.settle() {
		resp.Body.Close() // its context has ended
		return nil, context.Canceled
	}
	return resp, err
}

// giveUp gives up an exchange that takes long, if another may take its place.
func (j *journey) giveUp(x *exchange, req *http.Request) {
	other, err := j.next(req, slow)
	if err != nil {
		return // there is nobody else
	}
	x.other.Store(other)
	if !j.pool.budget.Withdraw(j.pool.now()) || !x.giveUp() {
		other.end()
	}
}

// again returns the next exchange, if there may be one after an attempt with
// this fate. The error is there if the Transport has been closed.
func (j *journey) again(x *exchange, req *http.Request, f fate, body *requestBody) (*exchange, error) {
	if f == slow { // which has been paid for
		other := x.other.Load()
		if gaveUp(req) || !body.rewind(j.req, false) {
			other.end()
			return nil, nil
		}
		return other, nil
	}
	switch {
	case !j.more(), gaveUp(req):
		return nil, nil
	case f.free():
	case f != dropped && f != reset && f != broken && f != failed,
		!isIdempotent(req), !j.pool.budget.Withdraw(j.pool.now()):
		return nil, nil
	}
	if !body.rewind(j.req, f.free()) {
		return nil, nil
	}
	other, err := j.next(req, f)
	if errors.Is(err, discovery.ErrClosed) {
		return nil, &requestError{err: err}
	}
	return other, nil
}

// more reports whether the request may be sent to another backend.
func (j *journey) more() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.attempts < j.pool.transport.config.Retry.MaxAttempts
}

// wants reports whether an answer is a reason to ask another backend.
func (j *journey) wants(resp *http.Response) bool {
	return j.repeatable && slices.Contains(j.pool.transport.config.Retry.Statuses, resp.StatusCode)
}

// arrive hands the response to the caller.
func (j *journey) arrive(x *exchange, resp *http.Response, body *requestBody) *http.Response {
	body.release()
	if header := j.pool.transport.config.BackendHeader; header != "" {
		resp.Header.Set(header, x.endpoint().String())
	}
	if j.cookie != "" {
		resp.Header.Add("Set-Cookie", j.cookie)
	}
	x.answer(j.req, resp)
	return resp
}

const (
	maxDrain  = 64 << 10 // what a longer body costs is a connection
	drainTime = 50 * time.Millisecond
)

// drain reads what is left of a response that nobody wants, if that is little,
// and closes it.
func drain(resp *http.Response) {
	late := time.AfterFunc(drainTime, func() { resp.Body.Close() })
	defer late.Stop()
	io.Copy(io.Discard, io.LimitReader(resp.Body, maxDrain)) //nolint:errcheck // nobody wants it
	resp.Body.Close()
}

// isIdempotent follows net/http's own rule, see http.Transport, and RFC 9110,
// section 9.2.2.
func isIdempotent(req *http.Request) bool {
	switch req.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	_, key := req.Header["Idempotency-Key"]
	_, xkey := req.Header["X-Idempotency-Key"]
	return key || xkey
}
