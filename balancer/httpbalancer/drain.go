package httpbalancer

import (
	"errors"
	"fmt"
	"net"
)

// ErrDrainTimeout is in the error of a request, or of the body of its response, that
// was cut off because Config.DrainTimeout had passed: since its pod began to
// terminate or left the Service, or since Close.
var ErrDrainTimeout = errors.New("cut off by the DrainTimeout")

// errCut is what net/http is told when it uses a connection that was cut off.
var errCut = fmt.Errorf("%w: %w", ErrDrainTimeout, net.ErrClosed)
