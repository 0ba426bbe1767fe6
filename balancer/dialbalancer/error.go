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
