package httpbalancer

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/sidestep-lb/sidestep/balancer/adapter"
	"github.com/sidestep-lb/sidestep/discovery"
)

// An attempt sends a request to one backend, and the response
// if there is one, whose body it is. It is in flight until it has ended.
type attempt struct {
	backend *backendConn
	pick    adapter.Pick // the zero value if the balancer was not asked
	life    attemptLife

	conn           *conn // nil before there is one
	reused         bool  // the connection has carried a request before
	sent, received int64 // the bytes that it had carried before

	caller endless       // holds the context whose end interrupts the attempt, if any does
	ignore func() bool   // the end of that context, from now on; nil if nothing has to be done then
	over   chan struct{} // closed when Request.Cancel need not be watched any more; nil if it is not

	request *attemptBody       // nil if it has none, or one that needs no care
	body    io.ReadCloser      // of the response
	late    *lateStatus        // what the end of the body will say; nil if the headers have said all
	cancel  context.CancelFunc // nil if the attempt has no context of its own
	then    func()             // called at the end; may be nil
	other   adapter.Pick       // of the attempt that takes its place; set before it is replaced
}

// send returns the response with the attempt in flight, or an error with the
// attempt still to be ended. The request is the caller's, but for its context.
// It sends nothing for a caller that has given up.
func (x *attempt) send(req *http.Request, body *requestBody) (*http.Response, error) {
	resp, err := x.roundTrip(req, body)
	if err != nil {
		x.life.step(eventFailed)
		return nil, err
	}
	event := eventAnswer
	if isUpgraded(resp) {
		event = eventUpgrade
	}
	if _, ok := x.life.step(event); !ok { // it has been replaced or interrupted
		resp.Body.Close()
		return nil, causeOf(req)
	}
	if event == eventUpgrade {
		x.ignoreCaller()
	}
	return resp, nil
}

func (x *attempt) roundTrip(req *http.Request, body *requestBody) (*http.Response, error) {
	if gaveUp(req) { // a connection would be made for nothing
		return nil, causeOf(req)
	}
	c, err := x.backend.connPool(poolKeyOf(req)).get(req)
	if err != nil {
		return nil, err
	}
	if gaveUp(req) {
		c.giveBack()
		return nil, causeOf(req)
	}
	x.conn = c
	x.reused, x.sent, x.received = c.used.Load(), c.sent(), c.received()
	if _, ok := x.life.step(eventConn); !ok { // it has been replaced
		x.conn = nil
		c.giveBack()
		return nil, causeOf(req)
	}
	if !x.reused && x.pick.Backend() != nil {
		x.pick.Sent()
	}
	own := x.ownRequest(req, body)
	resp, err := c.roundTrip(own)
	if err != nil && gaveUp(req) {
		err = causeOf(req)
	}
	return resp, err
}

// ownRequest returns what net/http is to send: the request itself if possible, and
// else a copy, since the caller's is not to be changed.
//
// Over HTTP/1, a ClientConn registers with the context for each request and starts
// a goroutine that waits for Request.Cancel. After a failure both stay for as long
// as the context lasts. So it is given a context without an end, and the attempt
// watches the real one.
func (x *attempt) ownRequest(req *http.Request, body *requestBody) *http.Request {
	own, ctx, http1 := req, req.Context(), !x.conn.http2
	if http1 && ctx.Done() != nil {
		x.caller.Context = ctx
		own = req.WithContext(&x.caller)
	}
	if body != nil {
		source := body.lend(x, req)
		if own == req && source != req.Body {
			own = req.WithContext(ctx)
		}
		if own != req {
			own.Body, own.GetBody = source, nil
		}
	}
	if cancel := req.Cancel; http1 && cancel != nil { //nolint:staticcheck // deprecated, yet http.Client sets it
		if own == req {
			own = req.WithContext(ctx)
		}
		own.Cancel = nil //nolint:staticcheck // as above
		x.over = make(chan struct{})
		go x.awaitCancel(cancel, x.over)
	}
	if x.caller.Context != nil {
		x.ignore = context.AfterFunc(ctx, x.interrupt)
	}
	return own
}

// An endless context has the values of another one and not its end, like that of
// context.WithoutCancel, without an allocation of its own.
type endless struct{ context.Context }

func (*endless) Deadline() (time.Time, bool) { return time.Time{}, false }
func (*endless) Done() <-chan struct{}       { return nil }
func (*endless) Err() error                  { return nil }

func (x *attempt) awaitCancel(cancel <-chan struct{}, over <-chan struct{}) {
	select {
	case <-cancel:
		x.interrupt()
	case <-over:
	}
}

// interrupt ends the connection that the attempt has for itself. The body of the
// request is closed, too, since net/http waits for a Read of it.
func (x *attempt) interrupt() {
	if _, ok := x.life.step(eventCallerGone); ok {
		x.conn.client.Close()
		x.request.discard()
	}
}

// ignoreCaller makes the attempt independent of the end of the caller's context.
func (x *attempt) ignoreCaller() {
	if x.ignore != nil {
		x.ignore()
	}
	if x.over != nil {
		close(x.over)
		x.over = nil
	}
}

// hasSent reports whether anything of the request may have left. On HTTP/2 it
// may be another one's.
func (x *attempt) hasSent() bool {
	return x.conn != nil && x.conn.sent() != x.sent
}

// mayCancel replaces the request by one that the attempt can cancel.
func (x *attempt) mayCancel(req **http.Request) {
	var ctx context.Context
	ctx, x.cancel = context.WithCancel((*req).Context())
	*req = (*req).WithContext(ctx)
}

// endpoint returns what discovery said last about the backend.
func (x *attempt) endpoint() *discovery.Endpoint {
	if b := x.backend.member.Load().backend; b != nil {
		return b.Endpoint()
	}
	return x.backend.endpoint
}

// end ends the attempt, once, with nothing held against the backend.
func (x *attempt) end() { x.endWith(adapter.Result{}) }

func (x *attempt) endWith(r adapter.Result) {
	before, ok := x.life.step(eventEnd)
	if !ok {
		return
	}
	if x.pick.Backend() != nil {
		x.pick.Done(r)
	}
	x.ignoreCaller()
	x.leaveConn(before)
	switch {
	case x.cancel == nil:
	case before == stateAnswered && x.request != nil && x.body == nil: // the response has none, the request's may still be on its way
		x.request.whenClosed(x.cancel)
	default:
		x.cancel()
	}
	if x.then != nil {
		x.then()
	}
	x.backend.leave()
}

// leaveConn gives the connection back or, over HTTP/1, closes it if the attempt
// was cut short on it.
func (x *attempt) leaveConn(before attemptState) {
	c := x.conn
	switch {
	case c == nil:
		return
	case !c.http2 && (before == stateInterrupted || before == stateReplaced):
		c.users.leave()
		c.close()
	default:
		c.release()
	}
	if !c.http2 && before == stateAnswered && c.client.Err() != nil {
		x.request.abort() // net/http may be waiting for more of it, and has nowhere to send it
	}
}

// giveBack releases a connection on which nothing was sent.
func (c *conn) giveBack() {
	if !c.http2 {
		c.client.Release()
	}
	c.release()
}

// fail ends an attempt without a response. What this side did is not the
// backend's: nothing counts that ended before anything was sent.
func (x *attempt) fail(f failureKind) {
	r := adapter.Result{Outcome: f.outcome(), CensoredLatency: f == beaten}
	switch {
	case f.waited() && !x.hasSent():
		r = adapter.Result{}
	case f.unreachable() && x.pick.Backend() != nil && !x.pick.Backend().Reachable():
		r.SameEvent = true // as others know that waited for the same connection
	case f == broken && x.conn.http2: // one lost connection is one event, however many requests it had
		r.SameEvent = x.conn.lost.Swap(true)
	}
	x.endWith(r)
}

// undo ends an attempt that was picked and not used.
func undo(p adapter.Pick) {
	p.Undo()
	p.Backend().Conn().(*backendConn).leave()
}

// maxAsks is how many connections of one backend a request may meet that have
// ended.
const maxAsks = 3

// ask sends a request to this very backend, once. The balancer is told nothing.
// The request is the caller's own, to be changed.
func (c *backendConn) ask(req *http.Request) (*http.Response, error) {
	body := newRequestBody(req)
	var pace pacer
	for n := 1; ; n++ {
		if !c.users.enter() {
			body.discard()
			return nil, errLeft
		}
		c.pool.users.inside.Add(1) // whoever asks keeps the pool open
		x := &attempt{backend: c}
		resp, err := x.send(req, body)
		if err == nil {
			body.release()
			x.answer(req, resp)
			return resp, nil
		}
		f := x.failureKind(req, body, err)
		x.fail(f)
		if f.counts(pace.refusals) || f == stale && n >= maxAsks || pace.wait(req, c.pool.followed) != nil || !body.rewind(true) {
			body.discard()
			return nil, plainError(err)
		}
	}
}
