package httpbalancer

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/discovery"
)

// An exchange is one attempt to send a request to one backend, and the response
// if there is one, whose body it is. It is in flight until it has ended.
type exchange struct {
	backend *backendConn
	pick    balancer.Pick // the zero value if the balancer was not asked
	conn    *conn         // nil before there is one

	// What the connection had carried before.
	reused         bool
	sent, received int64

	caller  endless                  // holds the context whose end interrupts the exchange, if any does
	ignore  func() bool              // the caller's end, from now on; nil if nothing has to be done then
	carried atomic.Uint32            // see interrupt
	request *attemptBody             // nil if it has none
	body    io.ReadCloser            // of the response
	cancel  context.CancelFunc       // nil if the exchange has no context of its own
	then    func()                   // called at the end; may be nil
	patient atomic.Uint32            // see giveUp
	other   atomic.Pointer[exchange] // takes its place when it is given up
	ended   atomic.Bool
}

// send returns the response with the exchange in flight, or an error with the
// exchange still to be ended. The request is the caller's, but for its context.
func (x *exchange) send(req *http.Request, body *requestBody) (*http.Response, error) {
	c, err := x.backend.lane(laneOf(req)).get(req)
	if err != nil {
		return nil, err
	}
	x.conn = c
	x.reused, x.sent, x.received = c.used.Load(), c.sent(), c.received()
	if !x.reused && x.pick.Backend() != nil {
		x.pick.Sent()
	}
	ctx := req.Context()
	switch {
	case ctx.Done() != nil && !c.http2:
		// Over HTTP/1, a ClientConn registers with the context for each request, and
		// after a failure it stays registered for as long as that lasts.
		x.caller.Context = ctx
		req = req.WithContext(&x.caller)
		x.ignore = context.AfterFunc(ctx, x.interrupt)
	case body != nil:
		req = req.WithContext(ctx) // the caller's is not to be changed
	}
	if body != nil {
		x.request = body.current
		x.request.sent = x.hasSent
		req.Body, req.GetBody = x.request, nil
	}
	resp, err := c.roundTrip(req)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return resp, err
}

// An endless context has the values of another one and not its end, like that of
// context.WithoutCancel, without an allocation of its own.
type endless struct{ context.Context }

func (*endless) Deadline() (time.Time, bool) { return time.Time{}, false }
func (*endless) Done() <-chan struct{}       { return nil }
func (*endless) Err() error                  { return nil }

// Whether an exchange is interrupted or has ended is decided once, since its
// connection may belong to another after that.
const (
	carrying = iota
	carried
	interrupted
)

// interrupt ends the connection that the exchange has for itself.
func (x *exchange) interrupt() {
	if x.carried.CompareAndSwap(carrying, interrupted) {
		x.conn.client.Close()
	}
}

// hasSent reports whether anything of the request may have left. On HTTP/2 it
// may be another one's.
func (x *exchange) hasSent() bool { return x.conn.wire == nil || x.conn.sent() != x.sent }

// mayCancel replaces the request by one that the exchange can cancel.
func (x *exchange) mayCancel(req **http.Request) {
	var ctx context.Context
	ctx, x.cancel = context.WithCancel((*req).Context())
	*req = (*req).WithContext(ctx)
}

// endpoint returns what discovery said last about the backend.
func (x *exchange) endpoint() *discovery.Endpoint {
	if b := x.backend.member.Load().backend; b != nil {
		return b.Endpoint()
	}
	return x.backend.endpoint
}

// end ends the exchange, once, with nothing held against the backend.
func (x *exchange) end() { x.endWith(balancer.Result{}) }

func (x *exchange) endWith(r balancer.Result) {
	if !x.ended.CompareAndSwap(false, true) {
		return
	}
	if x.pick.Backend() != nil {
		x.pick.Done(r)
	}
	if x.ignore != nil {
		x.ignore()
	}
	switch {
	case x.conn == nil:
	case x.carried.CompareAndSwap(carrying, carried):
		x.conn.release()
	default:
		x.conn.users.leave()
		x.conn.close()
	}
	switch {
	case x.cancel == nil:
	case x.request != nil && x.body == nil: // the response has none, the request's may still be on its way
		x.request.whenClosed(x.cancel)
	default:
		x.cancel()
	}
	if x.then != nil {
		x.then()
	}
	x.backend.leave()
}

// fail ends an exchange without a response.
func (x *exchange) fail(f fate) {
	x.request = nil // nobody waits for the rest of it
	x.endWith(balancer.Result{Outcome: f.outcome(), Overtaken: f == beaten})
}

// answer makes the response the caller's, and sees to it that the exchange ends
// with its body.
func (x *exchange) answer(req *http.Request, resp *http.Response) {
	resp.Request = req
	switch stream, ok := resp.Body.(io.ReadWriteCloser); {
	case resp.StatusCode == http.StatusSwitchingProtocols && ok:
		x.body = stream
		resp.Body = &upgradedBody{x, stream}
	case isBodyless(req, resp):
		x.end()
	default:
		x.body = resp.Body
		resp.Body = x
	}
}

func isBodyless(req *http.Request, resp *http.Response) bool {
	return req.Method == http.MethodHead || resp.Body == http.NoBody || resp.ContentLength == 0 ||
		resp.StatusCode == http.StatusNoContent || resp.StatusCode == http.StatusNotModified
}

// Read reads from the body of the response. The exchange ends when it has been
// read to the end, failed or been closed. How the body ends is not held against
// the backend: it may have lain in a buffer since that died.
func (x *exchange) Read(p []byte) (int, error) {
	n, err := x.body.Read(p)
	if err != nil {
		if !errors.Is(err, io.EOF) && x.caller.Context != nil && x.caller.Context.Err() != nil {
			err = context.Cause(x.caller.Context)
		}
		x.end()
	}
	return n, err
}

// Close closes the body of the response.
func (x *exchange) Close() error {
	err := x.body.Close()
	x.end()
	return err
}

// An upgradedBody is the connection after 101 Switching Protocols. The exchange
// lasts until it is closed: after the end of what there is to read there may be
// more to write.
type upgradedBody struct {
	exchange *exchange
	io.ReadWriteCloser
}

// CloseWrite is what httputil.ReverseProxy looks for.
func (b *upgradedBody) CloseWrite() error {
	if c, ok := b.ReadWriteCloser.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return http.ErrNotSupported
}

func (b *upgradedBody) Close() error {
	err := b.ReadWriteCloser.Close()
	b.exchange.end()
	return err
}

// Whether an exchange may be given up for another one is decided once.
const (
	waiting  = iota
	answered // it has its answer
	givenUp  // it took too long
)

// giveUp reports whether the exchange has no answer yet, and gets none then.
func (x *exchange) giveUp() bool {
	if !x.patient.CompareAndSwap(waiting, givenUp) {
		return false
	}
	x.cancel()
	return true
}

// settle reports whether the exchange has not been given up.
func (x *exchange) settle() bool { return x.patient.CompareAndSwap(waiting, answered) }

// maxAsks is how many connections of one backend a request may meet that have
// ended.
const maxAsks = 3

// ask sends a request to this very backend, once. The balancer is told nothing.
// The request is the caller's own, to be changed.
func (c *backendConn) ask(req *http.Request) (*http.Response, error) {
	body := newRequestBody(req)
	for n := 1; ; n++ {
		if !c.users.enter() {
			body.discard()
			return nil, errLeft
		}
		c.pool.users.inside.Add(1) // whoever asks keeps the pool open
		x := &exchange{backend: c}
		resp, err := x.send(req, body)
		if err == nil {
			body.release()
			x.answer(req, resp)
			return resp, nil
		}
		f := x.fate(req, body, err)
		x.fail(f)
		if f != stale || n == maxAsks || !body.rewind(req, true) {
			body.discard()
			return nil, err
		}
	}
}
