package load

import (
	"context"
	"net/http/httptrace"
	"sync/atomic"

	"google.golang.org/grpc/stats"
)

// connections counts those that were opened. As a stats.Handler it counts the
// connections of a gRPC channel, as a trace those that HTTP requests were sent
// on.
type connections struct {
	opened atomic.Int64
}

// trace returns hooks that count a connection with the first request on it.
func (c *connections) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		if !info.Reused {
			c.opened.Add(1)
		}
	}}
}

// HandleConn implements stats.Handler.
func (c *connections) HandleConn(_ context.Context, event stats.ConnStats) {
	if _, begin := event.(*stats.ConnBegin); begin {
		c.opened.Add(1)
	}
}

// TagConn implements stats.Handler.
func (*connections) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// TagRPC implements stats.Handler.
func (*connections) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// HandleRPC implements stats.Handler.
func (*connections) HandleRPC(context.Context, stats.RPCStats) {}
