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
)

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

func hasStreamCode(err error, code uint32) bool {
	var e streamError
	return errors.As(err, &e) && e.Code == code
}

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
