package grpcbalancer

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	gbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/adapter"
)

// A callContext is the context of a call that was made through the interceptors
// of DialOptions. It has what the attempts of the call have in common, which
// gRPC makes one after another when it retries: each is a pick with a context
// that derives from this one. That is all that a picker can know of them.
type callContext struct {
	context.Context

	// Set at the start and read-only.
	channel   *channel         // nil in a context of All that has not reached a channel
	cc        *grpc.ClientConn // nil with channel
	method    string
	key       uint64
	hasKey    bool
	streaming bool
	elsewhere bool            // it is not to go to a backend that was tried
	history   *history        // shared with the hedges of the call
	member    *member         // of a call to all backends, or nil
	trace     *balancer.Trace // or nil

	pool      atomic.Pointer[pool]        // that has picked for it
	overtaken atomic.Bool                 // a hedge was answered first
	gaveUp    atomic.Bool                 // the attempt took longer than Retry.TryTimeout
	told      atomic.Bool                 // Config.Traced was
	sending   atomic.Int32                // calls of SendMsg of a stream
	stream    *answers                    // of a stream, or nil; read-only
	held      atomic.Pointer[heldAttempt] // or nil
	own       history                     // history, unless this is a hedge
}

// A streamContext is that of a stream.
type streamContext struct {
	callContext
	answers answers
}

type callKey struct{}

// Value implements context.Context.
func (c *callContext) Value(key any) any {
	if _, ok := key.(callKey); ok {
		return c
	}
	return c.Context.Value(key)
}

// callOf returns the call that a context belongs to, or nil.
func callOf(ctx context.Context) *callContext {
	if ctx == nil {
		return nil
	}
	c, _ := ctx.Value(callKey{}).(*callContext)
	return c
}

// newCall returns the context of a new call over cc.
func (ch *channel) newCall(ctx context.Context, cc *grpc.ClientConn, method string, streaming bool, options []grpc.CallOption) *callContext {
	var c *callContext
	if streaming {
		s := new(streamContext)
		c, s.stream = &s.callContext, &s.answers
	} else {
		c = new(callContext)
	}
	c.Context, c.channel, c.cc, c.method, c.streaming = ctx, ch, cc, method, streaming
	c.history = &c.own
	c.trace = adapter.TraceFrom(ctx)
	switch outer := callOf(ctx); {
	case outer == nil:
	case outer.channel == nil: // that of All
		c.member = outer.member.in(cc)
	case c.trace == outer.trace: // an interceptor of another call makes this one, which is none of its attempts
		c.trace = nil
	}
	if c.trace == nil && ch.traced != nil {
		c.trace = new(balancer.Trace)
	}
	c.key, c.hasKey = adapter.KeyFrom(ctx)
	for _, o := range options {
		if key, ok := o.(keyOption); ok && key.text != "" {
			c.key, c.hasKey = balancer.HashKey(key.text), true
		}
	}
	return c
}

// callIn returns the call that a pick of p is made for, or nil. The context of a
// call over another channel says nothing: it is there when an interceptor of that
// call makes this one.
func (p *pool) callIn(ctx context.Context) *callContext {
	c := callOf(ctx)
	if c == nil || c.channel == nil {
		return c // All has no channel before the first pick
	}
	if last := c.pool.Load(); last == p {
		return c
	}
	if !c.channel.has(p, c.cc) {
		return nil
	}
	c.pool.Store(p)
	return c
}

// maxTried is how many backends a call remembers: gRPC makes five attempts at
// most (gRFC A6), and the last needs to know of four.
const maxTried = 4

// A history is which backends a call has been sent to, the latest last.
type history struct {
	mu       sync.Mutex
	tried    [maxTried]*adapter.Backend // guarded by mu
	n        int                        // guarded by mu
	attempts int                        // so far, of which the latest n are in tried; guarded by mu
	why      balancer.Reason            // there may be another attempt; guarded by mu
	last     lastAttempt                // guarded by mu
	paid     bool                       // the budget has paid for the next attempt; guarded by mu
	pool     *pool                      // that picked last; guarded by mu
	next     *adapter.Pick              // for the next attempt, or nil; guarded by mu
}

// A lastAttempt is what a retry depends on.
type lastAttempt struct {
	ending   ending
	code     codes.Code
	pushback time.Duration
}

// free reports whether no server has processed the attempt, so that a further
// one is no additional load.
func (e ending) free() bool { return e <= refused }

// reason returns why there is an attempt after others, if it is one. It is called
// with the history's mu held.
func (c *callContext) reason() balancer.Reason {
	if c.elsewhere {
		return balancer.Hedged
	}
	return c.history.why
}

// ended takes note of how an attempt ended.
func (h *history) ended(e ending, info *gbalancer.DoneInfo) {
	if info.Err == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last = lastAttempt{ending: e, code: status.Code(info.Err), pushback: pushback(info.Trailer)}
	switch {
	case e == refused:
		h.why = balancer.Refused
	case !info.BytesSent:
		h.why = balancer.NotSent
	case !info.BytesReceived || e == lost || e == cut:
		h.why = balancer.Broken
	default:
		h.why = balancer.Answer
	}
}

// add is called with mu held.
func (h *history) add(b *adapter.Backend) {
	if h.n == maxTried {
		copy(h.tried[:], h.tried[1:])
		h.n--
	}
	h.tried[h.n] = b
	h.n++
	h.attempts++
}

// request returns what the Balancer has to know of a request with this context,
// of a call that may be nil.
//
// A key of Key or balancer.WithKey costs nothing. One in the metadata costs a
// copy of them, since gRPC v1.84 has no other way to read them.
func (p *pool) request(info *gbalancer.PickInfo, of *callContext) (r adapter.Request) {
	if p.balancer.Measures() {
		r.Class = adapter.ClassOf(info.FullMethodName)
	}
	r.Stream = of != nil && of.streaming
	if !p.balancer.Keyed() {
		return r
	}
	ctx := info.Ctx
	if of != nil {
		r.Key, r.HasKey = of.key, of.hasKey
	} else if ctx != nil {
		r.Key, r.HasKey = adapter.KeyFrom(ctx)
	}
	if !r.HasKey && p.header != "" {
		md, _ := metadata.FromOutgoingContext(ctx)
		r.SetKey(joined(md[p.header]))
	}
	return r
}
