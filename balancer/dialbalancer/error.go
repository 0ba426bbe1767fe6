package dialbalancer

import (
	"errors"
	"fmt"
	"net"

	"github.com/sidestep-lb/sidestep/discovery"
)

// ErrRemoved is in the error of a connection that was closed, or that refused a
// Write, because its pod has been removed: see [Config.Removal].
var ErrRemoved = errors.New("the pod has been removed from the service")

var (
	errRemoved = fmt.Errorf("%w: %w", ErrRemoved, net.ErrClosed)
	errStale   = errors.New("the connection is stale: its pod has been removed, or has too many")
	errClosed  = fmt.Errorf("dialer %w", discovery.ErrClosed)
)

// An Error says to which pod no connection could be made. DialContext returns it in
// a *net.OpError, as a net.Dialer does with its errors.
type Error struct {
	// Target is what the Dialer was made for.
	Target discovery.Target
	// Endpoint is the pod that was tried last, and Attempts how many were tried.
	Endpoint discovery.Endpoint
	Attempts int
	// Err is why the last one could not be reached.
	Err error
}

// Error implements error.
func (e *Error) Error() string {
	text := e.Endpoint.String() + ": " + e.Err.Error()
	if e.Attempts > 1 {
		text = fmt.Sprintf("%s, after %d other pods", text, e.Attempts-1)
	}
	return text
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// Timeout reports whether the last pod did not answer in time. The *net.OpError that
// holds e asks.
func (e *Error) Timeout() bool {
	var t interface{ Timeout() bool }
	return errors.As(e.Err, &t) && t.Timeout()
}

// dialError returns an error of DialContext as a net.Dialer would.
func dialError(network, address string, err error) error {
	return &net.OpError{Op: "dial", Net: network, Addr: name{network, address}, Err: err}
}

// cause returns what a net.Dialer said, without the operation and the address, which
// are told already.
func cause(err error) error {
	if op, ok := err.(*net.OpError); ok && op.Op == "dial" && op.Err != nil { //nolint:errorlint // one that wraps it says more
		return op.Err
	}
	return err
}

// A name is an address that has not been resolved.
type name struct{ network, address string }

func (n name) Network() string { return n.network }
func (n name) String() string  { return n.address }
