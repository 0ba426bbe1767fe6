package httpbalancer

import (
	"context"
	"errors"
	"net/http"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/health"
)

// A failureKind is what became of an attempt that failed.
type failureKind int

const (
	final   failureKind = iota // another backend could do no better: the caller gave up, say
	beaten                     // it was given up because the other attempt of a hedged request had its answer
	late                       // the backend did not answer in time
	garbled                    // the answer made no sense

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
func (f failureKind) reason() balancer.Reason {
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
func (f failureKind) unreachable() bool { return f == unsent || f == broken }

// free reports whether the request certainly was not processed.
func (f failureKind) free() bool { return f == unsent || f.unprocessed() }

// unprocessed reports whether the backend, which is there, says so.
func (f failureKind) unprocessed() bool {
	return f == stale || f == refused || f == rejected || f == crowded
}

// maxCrowded is how many attempts do not count that may have failed for another
// reason than one stream too many. It is as many as http.Transport makes.
const maxCrowded = 7

// counts reports whether the attempt is one of Retry.MaxAttempts, when the request
// has not been processed so many times. It fails no request that a server is busy
// or about to stop.
func (f failureKind) counts(refusals int) bool {
	return f != stale && f != refused && (f != crowded || refusals >= maxCrowded)
}

// notTheBackendsFault reports whether the same backend may be tried again if there is no
// other. Streams are refused, too, by a server that allows for fewer than net/http
// could know when the connection was new.
func (f failureKind) notTheBackendsFault() bool { return f.unprocessed() || f == dropped }

// repeatable reports whether the request may be sent again if it is idempotent.
func (f failureKind) repeatable() bool {
	return f == dropped || f == reset || f == broken || f == unwanted
}

// waited reports whether it was given up because it took long.
func (f failureKind) waited() bool { return f == late || f == slow || f == beaten }

func (f failureKind) outcome() health.Outcome {
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

// failureKind goes by how far the request got. To be wrong here can mean that something
// is bought twice, so whatever is not certainly unsent counts as sent.
func (x *attempt) failureKind(req *http.Request, body *requestBody, err error) failureKind {
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
	return x.kindOnWire(err)
}

// kindOnWire is the kind of failure of an attempt that had a connection.
func (x *attempt) kindOnWire(err error) failureKind {
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

// Error codes of RFC 9113, section 7.
const (
	noError       = 0x0
	protocolError = 0x1
	refusedStream = 0x7
	cancelStream  = 0x8
)

// net/http exports no values for the errors below. If their texts ever change,
// such requests are sent again only if they are idempotent, and a test fails.

// isRejected reports whether a new connection with TLS ended by such an alert, though
// the error is that of a write that came after it.
func (x *attempt) isRejected() bool {
	if x.reused || x.conn.connPool.key.host == "" {
		return false
	}
	err := x.conn.countingConn.ended.Load()
	return err != nil && isHandshakeAlert(*err)
}
