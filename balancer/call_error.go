package balancer

import (
	"errors"
	"fmt"

	"github.com/sidestep-lb/sidestep/discovery"
)

// A CallError says where a call went that failed: a request of httpbalancer, a call
// through the interceptors of grpcbalancer, or a dial of dialbalancer. Their errors
// have it:
//
//	if failed, ok := errors.AsType[*balancer.CallError](err); ok {
//		log.Print(failed.Target, failed.Endpoint, failed.Attempts)
//	}
//
// In gRPC the error is a status as well, for status.Code and status.FromError.
type CallError struct {
	// Target is that of the call, such as k8s:///quiz.kiada:grpc.
	Target string
	// Endpoint is where the last attempt went, or nil if there was none. It must not be
	// changed.
	Endpoint *discovery.Endpoint
	// Attempts is how many attempts were made, hedges included: 0 if no backend could be
	// picked.
	Attempts int
	// Err is why the last attempt failed, or why there was none: an error of
	// discovery, of the connection or of the context, or in gRPC the status.
	Err error
}

// Error implements error.
func (e *CallError) Error() string {
	if e.Endpoint == nil {
		return fmt.Sprintf("%s: %v", e.Target, e.Err)
	}
	return fmt.Sprintf("%s: attempt %d, to %s: %v", e.Target, e.Attempts, e.Endpoint, e.Err)
}

// Timeout reports whether Err is a time-out. The *net.OpError of a dial asks.
func (e *CallError) Timeout() bool {
	var t interface{ Timeout() bool }
	return errors.As(e.Err, &t) && t.Timeout()
}

// Unwrap returns Err.
func (e *CallError) Unwrap() error { return e.Err }
