package httpbalancer

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/health"
)

// A fate is what became of an attempt that failed.
type fate int

const (
	final   fate = iota // another backend could do no better: the caller gave up, say
	beaten              // it was given up because the other leg of a hedged request had its answer
	late                // the backend did not answer in time
	garbled             // the answer made no sense

	// Not processed: these are sent again for free.

	unsent  // the backend could not be reached and got nothing
	stale   // the connection had ended before, or was about to: that says nothing about the backend
	refused // the backend refused to process it

	// Perhaps processed: these are sent again if the request allows that.

	dropped // a connection that had been used before ended without an answer, or a stream by misunderstanding
	reset   // the backend broke off, and the connection goes on
	broken  // the connection broke between the request and the response
	failed  // the backend answered with a status that another one may do better than
	slow    // the backend did not answer within Retry.TryTimeout
)

// reason returns why another attempt follows.
func (f fate) reason() balancer.Reason {
	switch f {
	case unsent, stale:
		return balancer.NotSent
	case refused:
		return balancer.Refused
	case failed:
		return balancer.Answer
	case slow:
		return balancer.TryTimeout
	default:
		return balancer.Broken
	}
}

// unreachable reports whether the backend is out of rotation until it has been
// reached again.
func (f fate) unreachable() bool { return f == unsent || f == broken }

// free reports whether the request certainly was not processed.
func (f fate) free() bool { return f == unsent || f == stale || f == refused }

// innocent reports whether the same backend may be tried again if there is no
// other. Streams are refused, too, by a server that allows for fewer than net/http
// could know when the connection was new.
func (f fate) innocent() bool { return f == stale || f == dropped || f == refused }

func (f fate) outcome() health.Outcome {
	switch f {
	case unsent, broken:
		return health.Unreachable
	case refused, reset, garbled:
		return health.Failure
	case late, slow:
		return health.Timeout
	default:
		return health.Neutral
	}
}

// fate goes by how far the request got. To be wrong here can mean that something
// is bought twice, so whatever is not certainly unsent counts as sent.
func (x *exchange) fate(req *http.Request, body *requestBody, err error) fate {
	var dial *dialError
	switch {
	case x.patient.Load() == givenUp:
		return slow
	case gaveUp(req):
		switch {
		case errors.Is(context.Cause(req.Context()), errBeaten):
			return beaten
		case errors.Is(req.Context().Err(), context.DeadlineExceeded):
			return late
		}
		return final
	case body.isBad():
		return final
	case errors.As(err, &dial):
		return unsent
	case x.conn == nil:
		return stale // the backend left while the request waited for a connection
	case hasStreamCode(err, refusedStream): // the server promises not to have processed it (RFC 9113, section 8.7)
		return refused
	case isUnprocessed(err):
		return stale
	}
	return x.fateOnWire(err)
}

// fateOnWire is the fate of an attempt that had a connection.
func (x *exchange) fateOnWire(err error) fate {
	untouched := !x.hasSent()
	// An HTTP/2 connection says things of its own, which are no sign.
	idle := untouched || x.conn.http2 || x.conn.wire == nil
	switch {
	case idle && x.conn.client.Err() == nil && !isNetwork(err) && !isStreamError(err) && !isTimeout(err):
		return final // the connection is well, so it is the request that net/http refuses to send
	case untouched && x.reused:
		return stale
	case untouched:
		return unsent
	case isTimeout(err): // such as a ResponseHeaderTimeout: the backend may be at work still
		return late
	case hasStreamCode(err, protocolError): // of too many streams, as a rule: go.dev/issue/42777
		return dropped
	case isStreamError(err):
		return reset
	case !x.conn.http2 && x.conn.lane.key.host == "" && x.conn.received() != x.received: // with TLS that may be no answer
		return garbled
	case !x.conn.http2 && x.reused:
		return dropped
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

// isTimeout reports whether somebody's patience ended. TCP's own time-out is not
// meant; with it the connection is gone.
func isTimeout(err error) bool {
	var netError net.Error
	return errors.As(err, &netError) && netError.Timeout() && !errors.Is(err, syscall.ETIMEDOUT)
}

// isNetwork reports whether the error is one of a connection.
func isNetwork(err error) bool {
	var op *net.OpError
	var errno syscall.Errno
	return errors.As(err, &op) || errors.As(err, &errno) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, net.ErrClosed)
}

// A streamError is what errors.As makes of net/http's HTTP/2 stream errors,
// which take the shape of golang.org/x/net/http2.StreamError.
type streamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (streamError) Error() string { return "stream error" }

func isStreamError(err error) bool {
	var e streamError
	return errors.As(err, &e)
}

// Error codes of RFC 9113, section 7.
const (
	protocolError = 0x1
	refusedStream = 0x7
)

func hasStreamCode(err error, code uint32) bool {
	var e streamError
	return errors.As(err, &e) && e.Code == code
}

// isUnprocessed reports whether net/http knows that the server has not processed
// the request: GOAWAY came, and the request is not among those that it will
// answer (RFC 9113, section 6.8), or it was not sent for that reason. net/http
// exports no values for these errors. If their texts ever change, such requests
// are sent again only if they are idempotent, and a test fails.
func isUnprocessed(err error) bool {
	for ; err != nil; err = errors.Unwrap(err) {
		switch err.Error() {
		case "http2: Transport received Server's graceful shutdown GOAWAY",
			"http2: client conn not usable",
			"http2: client conn could not be established":
			return true
		}
	}
	return false
}
