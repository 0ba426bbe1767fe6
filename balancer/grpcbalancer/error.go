package grpcbalancer

import (
	"google.golang.org/grpc/status"

	"github.com/sidestep-lb/sidestep/balancer"
)

// A callError is the status of a call that failed, which is a *balancer.CallError, too.
type callError struct {
	error // with a status
	call  *callContext
}

// failed returns the error of the call with what the call knows. Nil stays nil.
func (c *callContext) failed(err error) error {
	if err == nil {
		return nil
	}
	return &callError{err, c}
}

// GRPCStatus is for package status.
func (e *callError) GRPCStatus() *status.Status { return status.Convert(e.error) }

// Unwrap returns what gRPC returned.
func (e *callError) Unwrap() error { return e.error }

// As is for errors.As.
func (e *callError) As(into any) bool {
	to, ok := into.(**balancer.CallError)
	if !ok {
		return false
	}
	h := e.call.history
	h.mu.Lock()
	defer h.mu.Unlock()
	*to = &balancer.CallError{Target: e.call.channel.targetOf(e.call.cc), Attempts: h.attempts, Err: e.error}
	if h.n > 0 {
		(*to).Endpoint = h.tried[h.n-1].Endpoint()
	}
	return true
}
