package httpbalancer

import (
	"errors"

	"github.com/sidestep-lb/sidestep/discovery"
)

// A requestError adds the names of the Service and the backend to the error of
// a request.
type requestError struct {
	target  discovery.Target
	backend *discovery.Endpoint // nil if there is none, and then err names the target
	err     error
}

func (e *requestError) Error() string {
	if e.backend == nil {
		return e.err.Error()
	}
	return e.target.Host() + ": " + e.backend.String() + ": " + e.err.Error()
}

func (e *requestError) Unwrap() error { return e.err }

// Timeout is asked by url.Error, which does not unwrap.
func (e *requestError) Timeout() bool {
	var t interface{ Timeout() bool }
	return errors.As(e.err, &t) && t.Timeout()
}
