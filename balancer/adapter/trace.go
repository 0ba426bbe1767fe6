package adapter

import (
	"context"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/internal/link"
)

var tracing = link.TracingOf[*balancer.Trace, balancer.Reason]()

var reasons = [...]balancer.Reason{
	balancer.NotSent, balancer.Refused, balancer.Broken, balancer.Answer, balancer.TryTimeout, balancer.Hedged,
}

// TraceFrom returns the Trace of a context, see [balancer.WithTrace], or nil.
func TraceFrom(ctx context.Context) *balancer.Trace {
	t, _ := ctx.Value(link.TraceKey{}).(*balancer.Trace)
	return t
}

// BeginAttempt notes an attempt in t and returns its number. It does nothing if t is
// nil, like EndAttempt and UndoAttempt.
func BeginAttempt(t *balancer.Trace, b *Backend, why balancer.Reason) (number int) {
	if t == nil {
		return 0
	}
	return tracing.Begin(t, b.balancer.hooks.Name, policyName(&b.balancer.config), b.Endpoint(), why)
}

// EndAttempt notes how an attempt ended. The status is that of an HTTP response, or 0.
func EndAttempt(t *balancer.Trace, number, status int, err error) {
	if t != nil {
		tracing.End(t, number, status, err)
	}
}

// UndoAttempt takes back an attempt that never became one, if it is the last.
func UndoAttempt(t *balancer.Trace, number int) {
	if t != nil {
		tracing.Undo(t, number)
	}
}
