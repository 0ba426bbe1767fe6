package grpcbalancer

import (
	"context"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	gbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/metadata"

	"github.com/sidestep-lb/sidestep/balancer"
)

// A callContext is the context of a call that was made through the interceptors
// of DialOptions. It has what the attempts of the call have in common, which
// gRPC makes one after another when it retries: each is a pick with a context
// that derives from this one. That is all that a picker can know of them.
type callContext struct {
	context.Context

	// Set at the start and read-only.
	key       uint64
	hasKey    bool
	streaming bool
	elsewhere bool            // it is not to go to a backend that was tried
	history   *history        // shared with the hedges of the call
	member    *member         // of a call to all backends, or nil
	hedger    *hedger         // whose budget retries take from, or nil
	trace     *balancer.Trace // or nil

	overtaken atomic.Bool // a hedge was answered first
	answers   answers     // of a stream
	own       history     // history, unless this is a hedge
}

type callKey struct{}

// Value implements context.Context.
func (c *callContext) Value(key any) any {
	if _, ok := key.(callKey); ok {
		return c
	}
	return c.Context.Value(key)
}

// callOf returns the call that an attempt with this context belongs to, or nil.
func callOf(ctx context.Context) *callContext {
	if ctx == nil {
		return nil
	}
	c, _ := ctx.Value(callKey{}).(*callContext)
	return c
}

// newCall returns the context of a new call.
func newCall(ctx context.Context, streaming bool, options []grpc.CallOption) *callContext {
	c := &callContext{Context: ctx, streaming: streaming}
	c.history = &c.own
	c.trace = balancer.TraceFrom(ctx)
	if outer := callOf(ctx); outer != nil {
		c.member = outer.member
	}
	c.key, c.hasKey = balancer.KeyFrom(ctx)
	for _, o := range options {
		if key, ok := o.(keyOption); ok && key.text != "" {
			c.key, c.hasKey = balancer.HashKey(key.text), true
		}
	}
	return c
}

// maxTried is how many backends a call remembers: gRPC makes five attempts at
// most (gRFC A6), and the last needs to know of four.
const maxTried = 4

// A history is which backends a call has been sent to, the latest last.
type history struct {
	mu    sync.Mutex
	tried [maxTried]*balancer.Backend // guarded by mu
	n     int                         // guarded by mu
	why   balancer.Reason             // there may be another attempt; guarded by mu
}

// reason returns why there is an attempt after others, if it is one. It is called
// with the history's mu held.
func (c *callContext) reason() balancer.Reason {
	if c.elsewhere {
		return balancer.Hedged
	}
	return c.history.why
}

// failed takes note of how far an attempt got that failed.
func (h *history) failed(info *gbalancer.DoneInfo) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case !info.BytesSent:
		h.why = balancer.NotSent
	case !info.BytesReceived:
		h.why = balancer.Broken
	default:
		h.why = balancer.Answer
	}
}

// add is called with mu held.
func (h *history) add(b *balancer.Backend) {
	if h.n == maxTried {
		copy(h.tried[:], h.tried[1:])
		h.n--
	}
	h.tried[h.n] = b
	h.n++
}

// request returns what the Balancer has to know of a request with this context,
// of a call that may be nil.
//
// A key of Key or balancer.WithKey costs nothing. One in the metadata costs a
// copy of them, since gRPC v1.84 has no other way to read them.
func (p *pool) request(ctx context.Context, of *callContext) (r balancer.Request) {
	if !p.balancer.Keyed() {
		return r
	}
	if of != nil {
		r.Key, r.HasKey = of.key, of.hasKey
	} else if ctx != nil {
		r.Key, r.HasKey = balancer.KeyFrom(ctx)
	}
	if !r.HasKey && p.header != "" {
		md, _ := metadata.FromOutgoingContext(ctx)
		r.SetKey(joined(md[p.header]))
	}
	return r
}
