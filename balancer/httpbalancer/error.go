package httpbalancer

import (
	"errors"
	"net/http"
	"strings"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/discovery"
)

var (
	// errRefused ends the attempts of a request without a deadline.
	errRefused = errors.New("httpbalancer: refused for too long")
	// errClosedEarly is how a response ends whose body was closed before its end.
	errClosedEarly = errors.New("httpbalancer: the body was closed before its end")
)

// A requestError adds the names of the Service and the backend to the error of
// a request.
type requestError struct {
	target  discovery.Target
	backend *discovery.Endpoint // nil if there is none, and then err names the target
	err     error

	attempts int // that were made
}

// named adds the target to the error of a request that entered the pool.
func (p *pool) named(err error) error {
	if e, ok := err.(*requestError); ok { //nolint:errorlint // what a pool returns is not wrapped
		e.target = p.target
	}
	return err
}

// counted adds to the error of a request how many attempts there were.
func (j *call) counted(resp *http.Response, err error) (*http.Response, error) {
	if e, ok := err.(*requestError); ok { //nolint:errorlint // what attempts return is not wrapped
		j.mu.Lock()
		e.attempts = j.made
		j.mu.Unlock()
	}
	return resp, err
}

// As is for errors.As, and makes a *balancer.CallError of the error, if that is of a
// request to a Service.
func (e *requestError) As(into any) bool {
	to, ok := into.(**balancer.CallError)
	if ok = ok && e.target != (discovery.Target{}); ok {
		*to = &balancer.CallError{Target: e.target.String(), Endpoint: e.backend, Attempts: e.attempts, Err: e.err}
	}
	return ok
}

// streamErrorPrefix is how the text of net/http's HTTP/2 stream errors begins.
const streamErrorPrefix = "stream error: "

// Error names the Service and the backend first, except in a stream error:
// clients of RPCs, connect-go for one, tell its code by how its text begins and
// ends, since net/http exports no type for it.
func (e *requestError) Error() string {
	text := e.err.Error()
	if e.backend == nil {
		return text
	}
	names := e.target.Host() + ": " + e.backend.String()
	if strings.HasPrefix(text, streamErrorPrefix) {
		if stream, code, ok := strings.Cut(text, ";"); ok {
			return stream + " (" + names + ");" + code
		}
	}
	return names + ": " + text
}

func (e *requestError) Unwrap() error { return e.err }

// Timeout is asked by url.Error, which does not unwrap.
func (e *requestError) Timeout() bool {
	var t interface{ Timeout() bool }
	return errors.As(e.err, &t) && t.Timeout()
}

// Temporary is asked by url.Error, too.
func (e *requestError) Temporary() bool {
	var t interface{ Temporary() bool }
	return errors.As(e.err, &t) && t.Temporary()
}

// plainError returns the error of a ClientConn as http.Transport would: without
// what the two tell each other by the types of their errors.
func plainError(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		text := err.Error()
		if text != inner.Error() && text != "net/http: Transport failed to read from server: "+inner.Error() {
			return err
		}
		err = inner
	}
}
