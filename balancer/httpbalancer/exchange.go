package httpbalancer

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"syscall"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/health"
)

// An exchange is one attempt to send a request to one backend, and the response
// if there is one. It is in flight until it has ended.
type exchange struct {
	conn     *backendConn
	pick     balancer.Pick
	progress atomic.Int32 // how far the request got
	ended    atomic.Bool
}

// How far a request got. http.Transport repeats some requests by itself, on
// connections to the same backend, which takes the progress back.
const (
	idle       = iota // it was refused before anything was tried
	connecting        // it waits for a connection
	connected         // it has a connection
	sent              // its headers have been handed to the connection
	answered          // the first byte of the response is here
)

// send returns the response with the exchange in flight, or an error with the
// exchange still to be ended by fail.
func (x *exchange) send(req *http.Request, body *requestBody) (*http.Response, error) {
	ctx := httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		GetConn:              func(string) { x.progress.Store(connecting) },
		GotConn:              func(httptrace.GotConnInfo) { x.progress.Store(connected) },
		WroteHeaders:         func() { x.progress.Store(sent) },
		GotFirstResponseByte: func() { x.progress.Store(answered) },
	})
	clone := req.WithContext(ctx)
	if body != nil {
		clone.Body = body.attempt()
	}
	resp, err := x.conn.transport.RoundTrip(clone)
	if err != nil {
		return nil, err
	}
	body.release()
	// The answer is what counts. The end of the body does not: it may have lain
	// in a buffer since the backend died.
	x.pick.Answered(resultOf(resp))
	resp.Request = req
	x.watchBody(req, resp)
	return resp, nil
}

// end ends the exchange, once.
func (x *exchange) end(o health.Outcome) {
	if x.ended.CompareAndSwap(false, true) {
		x.pick.Done(balancer.Result{Outcome: o})
		x.conn.leave()
	}
}

// A fate is what became of an attempt that failed.
type fate int

const (
	final   fate = iota // it says nothing about the backend: the caller gave up, say
	unsent              // the backend could not be reached and got nothing
	refused             // the backend took the request's headers and refused to process it
	broken              // the connection broke between the request and the response
)

func (f fate) unreachable() bool { return f == unsent || f == broken }

// fail ends the exchange with its fate.
func (x *exchange) fail(req *http.Request, f fate, err error) {
	switch {
	case f.unreachable():
		x.end(health.Unreachable)
	case f == refused:
		x.end(health.Failure)
	case outOfTime(req, err):
		x.end(health.Timeout)
	default:
		x.end(health.Neutral)
	}
}

// outOfTime reports whether it was time that ran out: that of the request's
// context or client, or that for the response's headers.
func outOfTime(req *http.Request, err error) bool {
	return errors.Is(req.Context().Err(), context.DeadlineExceeded) || isTimeout(err)
}

// fate goes by how far the request got, not by the text of the error.
func (x *exchange) fate(req *http.Request, body *requestBody, err error) fate {
	progress := x.progress.Load()
	switch {
	case gaveUp(req), body.isBad(), progress == idle:
		return final
	case progress < sent:
		return unsent
	case isRefusedStream(err):
		return refused
	case progress == answered, isTimeout(err):
		return final
	default:
		return broken
	}
}

// gaveUp reports whether the caller wants no response any more.
func gaveUp(req *http.Request) bool {
	select {
	case <-req.Context().Done():
		return true
	case <-req.Cancel: //nolint:staticcheck // deprecated, yet http.Transport obeys it
		return true
	default:
		return false
	}
}

// isTimeout reports whether somebody's patience ended, such as a
// ResponseHeaderTimeout: the backend may be at work still. TCP's own time-out
// is not meant; with it the connection is gone.
func isTimeout(err error) bool {
	var netError net.Error
	return errors.As(err, &netError) && netError.Timeout() && !errors.Is(err, syscall.ETIMEDOUT)
}

// A streamError is what errors.As makes of net/http's HTTP/2 stream errors,
// which take the shape of golang.org/x/net/http2.StreamError.
type streamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (streamError) Error() string { return "stream error" }

// isRefusedStream reports whether the server promised not to have processed the
// request (RFC 9113, section 8.7).
func isRefusedStream(err error) bool {
	const refusedStream = 0x7
	var e streamError
	return errors.As(err, &e) && e.Code == refusedStream
}
