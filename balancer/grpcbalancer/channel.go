package grpcbalancer

import (
	"context"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/health"
)

// A channel is what the interceptors of DialOptions have in common with the
// policy of the same channel.
type channel struct {
	// Set at the start and read-only.
	id      uint64 // in the config of the policy
	hedger  *hedger
	retry   Retry
	budget  *health.Budget // for retries and hedges, and for gRPC's own retries, though it cannot refuse those; nil if there are none
	start   time.Time      // of the times of the budget
	traced  func(context.Context, *balancer.Trace)
	outcome func(method string, s *status.Status, trailer metadata.MD) health.Outcome

	checked atomic.Int32           // see check
	own     atomic.Bool            // a pool with the channel's id has
	target  atomic.Pointer[target] // of the latest ClientConn whose target was needed
}

type target struct {
	cc   *grpc.ClientConn
	text string
}

var channels atomic.Uint64 // how many there were

func (c *Config) newChannel() *channel {
	ch := &channel{id: channels.Add(1), retry: c.Retry, traced: c.Traced, outcome: c.Outcome, start: time.Now()}
	if c.Hedge.Percentile != 0 || c.Retry.enabled() {
		ch.budget = health.NewBudget(0)
	}
	ch.hedger = newHedger(c.Hedge, ch)
	return ch
}

func (ch *channel) now() int64 { return int64(time.Since(ch.start)) }

// has reports whether a pool is that of a ClientConn of this channel. Where a
// service config was given after DialOptions, the pool does not know the channel's
// id, and the target has to do.
func (ch *channel) has(p *pool, cc *grpc.ClientConn) bool {
	switch {
	case p.channel == ch.id:
		ch.own.Store(true)
	case p.channel != 0 || ch.own.Load() || ch.targetOf(cc) != p.target:
		return false
	}
	return true
}

func (ch *channel) targetOf(cc *grpc.ClientConn) string {
	t := ch.target.Load()
	if t == nil || t.cc != cc {
		t = &target{cc, cc.CanonicalTarget()}
		ch.target.Store(t)
	}
	return t.text
}

// retried takes note of an attempt that gRPC makes by itself, which leaves less
// for other retries and for hedges.
func (ch *channel) retried() {
	if ch != nil && ch.budget != nil {
		ch.budget.Withdraw(ch.now())
	}
}
