package load

import (
	"context"
	"net"
	"net/http/httptrace"
	"net/netip"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/stats"
)

// connections counts those that were opened. As a stats.Handler it counts the
// connections of a gRPC channel, as a trace those that HTTP requests were sent
// on.
type connections struct {
	opened atomic.Int64

	mu    sync.Mutex
	local map[netip.AddrPort]bool // the local ends of those counted by the trace
}

// trace returns hooks that count a connection with the first request on it.
func (c *connections) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		// A connection that was idle before its first request is called reused, but
		// its local address is a new one.
		if c.isNew(info.Conn.LocalAddr()) || !info.Reused {
			c.opened.Add(1)
		}
	}}
}

// isNew reports whether it is called with local for the first time.
func (c *connections) isNew(local net.Addr) bool {
	tcp, ok := local.(*net.TCPAddr)
	if !ok || tcp.Port == 0 {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	key := tcp.AddrPort()
	if c.local[key] {
		return false
	}
	if c.local == nil {
		c.local = make(map[netip.AddrPort]bool)
	}
	c.local[key] = true
	return true
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
