package httpbalancer

import (
	"cmp"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/adapter"
	"github.com/sidestep-lb/sidestep/discovery"
)

// A call is a request with all its attempts.
type call struct {
	// Set at the start and read-only.
	pool       *pool
	req        *http.Request   // the caller's
	trace      *balancer.Trace // nil if nobody wants one
	cookie     string          // the key that the caller is to come back with; empty if it has one
	repeatable bool            // the request may be sent again though it was sent before

	mu       sync.Mutex
	request  adapter.Request    // with the backends that were tried; guarded by mu
	attempts int                // those that count; guarded by mu
	made     int                // all of them; guarded by mu
	begun    bool               // first is in use; guarded by mu
	passed   []*adapter.Backend // those of request.Tried that were given up for another; guarded by mu
	debts    int                // how many attempts were given up for another that may not reach its backend; guarded by mu

	first attempt                              // of most requests the only one
	tried [defaultMaxAttempts]*adapter.Backend // room for request.Tried
}

// roundTrip sends a request that has entered the pool.
func (p *pool) roundTrip(req *http.Request) (*http.Response, error) {
	defer p.users.leave()
	if gaveUp(req) { // nothing is sent for a caller that has given up
		closeBody(req)
		return nil, &requestError{err: causeOf(req)}
	}
	p.budget.Deposit()
	if p.warmer != nil {
		p.warmer.learn(poolKeyOf(req))
	}
	j := &call{pool: p, req: req, trace: adapter.TraceFrom(req.Context())}
	if traced := p.transport.config.Traced; traced != nil {
		if j.trace == nil {
			j.trace = new(balancer.Trace)
		}
		defer func() { traced(req.Context(), j.trace) }()
	}
	if err := p.ready(req.Context()); err != nil {
		closeBody(req)
		return nil, &requestError{err: err}
	}
	if p.latest.Load().proxied && p.transport.config.Target == nil {
		return p.transport.base.RoundTrip(req)
	}
	j.request = p.request(req)
	j.request.Tried = j.tried[:0]
	j.setCookie()
	j.repeatable = isIdempotent(req) && (req.Body == nil || req.Body == http.NoBody || req.GetBody != nil)
	if p.hedge != nil && j.repeatable {
		return j.counted(j.hedged())
	}
	return j.counted(j.travel(req, newRequestBody(req), ""))
}

// travel sends the request to one backend after the other until one answers.
func (j *call) travel(req *http.Request, body *requestBody, why balancer.Reason) (*http.Response, error) {
	picked, err := j.pick(req, final)
	if err != nil {
		body.discard()
		return nil, &requestError{err: err}
	}
	x := j.take(picked)
	var pace pacer
	for {
		if why != "" {
			j.pool.balancer.Retried(why)
		}
		seen := adapter.BeginAttempt(j.trace, x.pick.Backend(), why)
		resp, err := j.send(x, req, body)
		adapter.EndAttempt(j.trace, seen, statusOf(resp), err)
		if err != nil {
			f := x.failureKind(req, body, err)
			if f.unreachable() {
				j.pool.endpoints.Refresh()
			}
			x.fail(f)
			again, end := j.again(x, req, f, body, &pace)
			if again == nil {
				if f.unreachable() {
					j.pool.reportUnreachable()
				}
				body.discard()
				return nil, cmp.Or[error](end, &requestError{backend: x.endpoint(), err: plainError(err)})
			}
			x, why = again, f.reason()
			continue
		}
		j.judge(x, resp)
		if !j.wants(resp) {
			return j.arrive(x, resp, body), nil
		}
		again, _ := j.again(x, req, unwanted, body, &pace)
		if again == nil {
			return j.arrive(x, resp, body), nil // better than nothing
		}
		x.answer(j.req, resp)
		drain(resp)
		x, why = again, unwanted.reason()
	}
}

// take makes an attempt of a pick.
func (j *call) take(picked adapter.Pick) *attempt {
	j.mu.Lock()
	defer j.mu.Unlock()
	x := &j.first
	if j.begun {
		x = new(attempt)
	}
	j.begun = true
	j.attempts++
	j.made++
	j.request.Tried = append(j.request.Tried, picked.Backend())
	x.backend, x.pick = picked.Backend().Conn().(*backendConn), picked
	return x
}

// send sends the request. After Retry.TryTimeout another attempt takes the place
// of this one, if there may be one then.
func (j *call) send(x *attempt, req *http.Request, body *requestBody) (*http.Response, error) {
	limit := j.pool.transport.config.Retry.TryTimeout
	if limit == 0 || !j.repeatable || !j.more() {
		return x.send(req, body)
	}
	x.mayCancel(&req)
	timer := time.AfterFunc(limit, func() { j.replace(x, req) })
	defer timer.Stop()
	return x.send(req, body)
}

// replace gives up an attempt that takes long, if another may take its place.
// What is given up in vain costs nothing.
func (j *call) replace(x *attempt, req *http.Request) {
	p := j.pool
	if !p.users.enter() { // the request has ended
		return
	}
	defer p.users.leave()
	event := eventReplaceUnsent // which is for free
	if !x.life.is(stateConnecting) {
		if !x.life.is(stateSending) || !p.budget.Withdraw(p.now()) {
			return
		}
		event = eventReplace
	}
	other, err := j.pick(req, slow)
	if err == nil {
		x.other = other
		if _, ok := x.life.step(event); ok {
			x.cancel()
			return
		}
		undo(other)
	}
	if event == eventReplace {
		p.budget.Refund()
	}
}

// again returns the next attempt, if there may be one after one with this failureKind.
// The error, if there is one, says more than the failureKind.
func (j *call) again(x *attempt, req *http.Request, f failureKind, body *requestBody, pace *pacer) (*attempt, error) {
	if f == slow { // the next one has been picked, and paid for
		j.passOver(x)
		return j.follow(x.other, req, body, false)
	}
	if !f.counts(pace.refusals) || f == unsent && j.forgive() {
		j.uncount()
	}
	if gaveUp(req) { // perhaps after the attempt has failed
		return nil, &requestError{backend: x.endpoint(), err: causeOf(req)}
	}
	if !j.more() {
		return nil, nil
	}
	paid := false
	switch {
	case f.unprocessed():
		switch err := pace.wait(req, j.pool.followed); {
		case errors.Is(err, errRefused):
			return nil, nil // what the server said last says more
		case err != nil:
			return nil, &requestError{err: err}
		}
	case f.free():
	case f.repeatable() && isIdempotent(req) && j.pool.budget.Withdraw(j.pool.now()):
		paid = true
	default:
		return nil, nil
	}
	picked, err := j.pick(req, f)
	var next *attempt
	if err == nil {
		next, err = j.follow(picked, req, body, f.free())
	}
	if next == nil && paid {
		j.pool.budget.Refund()
	}
	switch {
	case next != nil:
		return next, nil
	case errors.Is(err, discovery.ErrClosed):
		return nil, &requestError{err: err}
	case gaveUp(req): // while it waited for a backend, perhaps
		return nil, &requestError{err: causeOf(req)}
	default:
		return nil, nil
	}
}

// follow makes the next attempt of a pick, if the caller still wants one and the
// body can be sent again.
func (j *call) follow(picked adapter.Pick, req *http.Request, body *requestBody, unprocessed bool) (*attempt, error) {
	if gaveUp(req) {
		undo(picked)
		return nil, &requestError{err: causeOf(req)}
	}
	if !body.rewind(unprocessed) {
		undo(picked)
		return nil, nil
	}
	return j.take(picked), nil
}

// passOver notes that an attempt was given up. Its backend may yet be the only one
// that works. The attempt does not count if nothing of it was sent.
func (j *call) passOver(x *attempt) {
	sent := x.hasSent()
	if !sent {
		j.uncount()
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.passed = append(j.passed, x.pick.Backend())
	if sent {
		j.debts++
	}
}

// arrive hands the response to the caller.
func (j *call) arrive(x *attempt, resp *http.Response, body *requestBody) *http.Response {
	body.release()
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
