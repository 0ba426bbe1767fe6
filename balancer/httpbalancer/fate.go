package httpbalancer

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"syscall"
	"time"

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

	unsent   // the backend could not be reached and got nothing
	stale    // the connection had ended before, or was about to: that says nothing about the backend
	refused  // the backend refused to process it, for now
	rejected // the backend refused the connection, with all that was on it
	crowded  // the backend refused it as one stream too many, most probably

	// Perhaps processed: these are sent again if the request allows that.

	dropped  // a connection that had been used before ended without an answer
	reset    // the backend broke off, and the connection goes on
	broken   // the connection broke between the request and the response
	unwanted // the backend answered with a status that another one may do better than
	slow     // the backend did not answer within Retry.TryTimeout
)

// reason returns why another attempt follows.
func (f fate) reason() balancer.Reason {
	switch f {
	case unsent, stale:
		return balancer.NotSent
	case refused, rejected, crowded:
		return balancer.Refused
	case unwanted:
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
func (f fate) free() bool { return f == unsent || f.unprocessed() }

// unprocessed reports whether the backend, which is there, says so.
func (f fate) unprocessed() bool {
	return f == stale || f == refused || f == rejected || f == crowded
}

// maxCrowded is how many attempts do not count that may have failed for another
// reason than one stream too many. It is as many as http.Transport makes.
const maxCrowded = 7

// counts reports whether the attempt is one of Retry.MaxAttempts, when the request
// has not been processed so many times. It fails no request that a server is busy
// or about to stop.
func (f fate) counts(refusals int) bool {
	return f != stale && f != refused && (f != crowded || refusals >= maxCrowded)
}

// innocent reports whether the same backend may be tried again if there is no
// other. Streams are refused, too, by a server that allows for fewer than net/http
// could know when the connection was new.
func (f fate) innocent() bool { return f.unprocessed() || f == dropped }

// repeatable reports whether the request may be sent again if it is idempotent.
func (f fate) repeatable() bool { return f == dropped || f == reset || f == broken || f == unwanted }

// waited reports whether it was given up because it took long.
func (f fate) waited() bool { return f == late || f == slow || f == beaten }

func (f fate) outcome() health.Outcome {
	switch f {
	case unsent, broken:
		return health.Unreachable
	case reset, garbled:
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
	case x.life.is(stateReplaced):
		return slow
	case gaveUp(req):
		switch {
		case errors.Is(context.Cause(req.Context()), errBeaten):
			return beaten
		case isPastDeadline(req):
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
	case isRejected(err), x.isRejected():
		return rejected
	case hasStreamCode(err, protocolError):
		// One stream too many, most probably: a malformed request would get it, too, but
		// net/http sends none. That is no promise, though. net/http sends the request
		// again whatever its method (go.dev/issue/42777), and lighttpd 1.4 resets so what
		// it is processing when it stops. So what must not be sent twice is not.
		if isIdempotent(req) {
			return crowded
		}
		return dropped
	}
	return x.fateOnWire(err)
}

// fateOnWire is the fate of an attempt that had a connection.
func (x *exchange) fateOnWire(err error) fate {
	untouched := !x.hasSent()
	// An HTTP/2 connection says things of its own, which are no sign.
	idle := untouched || x.conn.http2
	switch {
	case idle && x.conn.client.Err() == nil && !isNetwork(err) && !isStreamError(err) && !isTimeout(err):
		return final // the connection is well, so it is the request that net/http refuses to send
	case untouched && x.reused:
		return stale
	case untouched:
		return unsent
	case isTimeout(err): // such as a ResponseHeaderTimeout: the backend may be at work still
		return late
	case isStreamError(err):
		return reset
	case !x.conn.http2 && x.conn.received() != x.received:
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

// causeOf is the error of a request that the caller has given up.
func causeOf(req *http.Request) error {
	if err := context.Cause(req.Context()); err != nil {
		return err
	}
	return context.Canceled // as http.Client with a Timeout wants it, or whoever else sets Request.Cancel
}

// isPastDeadline reports whether it was time that made the caller give up. With
// http.Client's Timeout, Request.Cancel may come before the context's own end.
func isPastDeadline(req *http.Request) bool {
	ctx := req.Context()
	if err := ctx.Err(); err != nil {
		return errors.Is(err, context.DeadlineExceeded)
	}
	deadline, ok := ctx.Deadline()
	return ok && !time.Now().Before(deadline)
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
	noError       = 0x0
	protocolError = 0x1
	refusedStream = 0x7
	cancelStream  = 0x8
)

func hasStreamCode(err error, code uint32) bool {
	var e streamError
	return errors.As(err, &e) && e.Code == code
}

// net/http exports no values for the errors below. If their texts ever change,
// such requests are sent again only if they are idempotent, and a test fails.

// isUnprocessed reports whether net/http knows that the server has not processed
// the request: GOAWAY came, and the request is not among those that it will
// answer (RFC 9113, section 6.8), or it was not sent for that reason.
func isUnprocessed(err error) bool {
	return hasText(err, func(text string) bool {
		return text == "http2: Transport received Server's graceful shutdown GOAWAY" || text == "http2: client conn not usable"
	})
}

// isRejected reports whether the server refused the connection: it closed a new
// one before the first request, or its GOAWAY, of an error, says that not even
// the first was processed, or the TLS handshake has failed on its side. With TLS
// 1.3 the client learns that only after it has sent something.
func isRejected(err error) bool {
	return isHandshakeAlert(err) || hasText(err, func(text string) bool {
		return text == "http2: client conn could not be established" ||
			strings.HasPrefix(text, "http2: Transport received GOAWAY from server ErrCode:")
	})
}

// isRejected reports whether a new connection with TLS ended by such an alert, though
// the error is that of a write that came after it.
func (x *exchange) isRejected() bool {
	if x.reused || x.conn.lane.key.host == "" {
		return false
	}
	err := x.conn.wire.ended.Load()
	return err != nil && isHandshakeAlert(*err)
}

// hasText reports whether one of the errors that err wraps has a text like that.
func hasText(err error, is func(text string) bool) bool {
	for ; err != nil; err = errors.Unwrap(err) {
		if is(err.Error()) {
			return true
		}
	}
	return false
}

// isHandshakeAlert reports whether the error is a TLS alert that a server sends
// during the handshake and not after it, which is before it reads any request.
func isHandshakeAlert(err error) bool {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" {
		return false
	}
	alert := reflect.ValueOf(op.Err) // crypto/tls's type is its own
	if alert.Kind() != reflect.Uint8 {
		return false
	}
	switch alert.Uint() { // RFC 8446, section 6.2
	case 40, 42, 43, 44, 45, 46, 48, 49, 70, 71, 109, 112, 116, 120: // of parameters, certificates, versions, names and protocols
		return true
	}
	return false
}
