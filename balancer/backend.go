package balancer

import (
	"sync/atomic"
	"time"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/health"
)

// A Backend is an endpoint plus its live state. It stays the same one, with its
// requests in flight and its health, for as long as updates name the endpoint.
type Backend struct {
	// What picks look at, in the first of five cache lines, and what the end of a
	// request looks at besides, in the second.
	flags    atomic.Uint32
	weight   atomic.Uint32 // one at least
	pending  load          // requests that wait for their answer
	open     atomic.Int64  // requests that have an answer and are not done
	estimate estimate
	served   tally     // for adaptive
	ended    ending    // but for most successes, where pending has them
	balancer *Balancer // read-only, as are rank, seed, joined and conn
	conn     Conn      // set before the first pick
	record   health.Record

	rank     uint64 // its place in this client's order of the backends
	seed     uint64 // of its places in the tables of keyed
	joined   int64  // when it came, for slow start
	endpoint atomic.Pointer[discovery.Endpoint]
	outUntil atomic.Int64 // when an ejected one gets its probe
	reported reported
	priority atomic.Uint32
	number   uint32      // among the owners of its latest table, see keyed; guarded by the Balancer's publishing
	reached  atomic.Bool // at least once
	gone     bool        // it is about to have left; guarded by the Balancer's mu
}

// The flags of a backend. Without any of them, it is picked like all others.
const (
	unreachable uint32 = 1 << iota // its connection or dial failed
	sick                           // active probes say so
	ejected                        // it failed too often
	left                           // no update names it any more
	denied                         // it should be ejected, but too many are
	unproven                       // it has never answered
	warming                        // it is in slow start
	failing                        // its last request failed, or was overtaken by a hedge
	offered                        // it waits for its probe, or that is under way
)

// A Conn is what an adapter keeps for a backend: its connections.
type Conn interface {
	// Drain is called once, when the backend has left. The backend gets no new
	// request; those in flight should finish, then the connections close.
	Drain()
}

// Endpoint returns what discovery said last about the backend.
func (b *Backend) Endpoint() *discovery.Endpoint { return b.endpoint.Load() }

// Conn returns what the adapter attached to the backend.
func (b *Backend) Conn() Conn { return b.conn }

// InFlight returns the number of requests that the backend has been picked for
// and that are not done.
func (b *Backend) InFlight() int64 { return b.pending.count() + b.open.Load() }

// enter counts a request as in flight, since now.
func (b *Backend) enter(now int64) { b.pending.start(b.kept(now)) }

// leave takes a request that started then off those in flight, and counts it by
// what became of it: before that, since a backend that is gone is forgotten when it
// has none in flight.
func (b *Backend) leave(start int64, o health.Outcome) {
	if o == health.Success && !b.balancer.policy.timed {
		b.pending.succeed()
		return
	}
	b.ended[o].Add(1)
	b.pending.finish(b.kept(start))
}

// kept is the time that pending is told: the policy's, and not that of a sample.
func (b *Backend) kept(start int64) int64 {
	if !b.balancer.policy.timed {
		return 0
	}
	return start
}

// outcomes returns what became of the requests.
func (b *Backend) outcomes() Outcomes {
	o := b.ended.read()
	if !b.balancer.policy.timed {
		o[health.Success] += b.pending.successes()
	}
	return o
}

// load returns the requests in flight as the policies weigh them.
func (b *Backend) load() float32 {
	return float32(b.pending.count()) + b.opened()
}

// opened is the part of load that has an answer.
func (b *Backend) opened() float32 {
	n := b.open.Load()
	if n == 0 { // as a rule, and then nothing outside of the cache line is to be looked at
		return 0
	}
	return float32(n) * b.balancer.answered
}

// Weight returns the weight of the backend's endpoint, one at least.
func (b *Backend) Weight() uint32 { return b.weight.Load() }

// Fit reports whether the backend is in rotation.
func (b *Backend) Fit() bool { return !b.is(unreachable | sick | ejected | left) }

// Reachable reports whether the backend could be reached when that was last
// tried.
func (b *Backend) Reachable() bool { return !b.is(unreachable) }

// Left reports whether the backend's endpoint is gone from the target.
func (b *Backend) Left() bool { return b.is(left) }

// SetSick tells the backend's health what active probes say: it is out of
// rotation while it is sick.
func (b *Backend) SetSick(now bool) {
	if now && b.set(sick) || !now && b.unset(sick) {
		kind := EventWell
		if now {
			kind = EventSick
		}
		b.balancer.happened(kind, b, "")
		b.balancer.fitnessChanged(b)
	}
}

func (b *Backend) is(flags uint32) bool { return b.flags.Load()&flags != 0 }

// set sets a flag and reports whether it was not set before.
func (b *Backend) set(flag uint32) bool {
	before := b.flags.Or(flag)
	b.counted(before, before|flag)
	return before&flag == 0
}

// unset takes back flags and reports whether one of them was set before.
func (b *Backend) unset(flags uint32) bool {
	before := b.flags.And(^flags)
	b.counted(before, before&^flags)
	return before&flags != 0
}

// counted keeps count of the backends that are there and not fit.
func (b *Backend) counted(before, after uint32) {
	out := func(flags uint32) bool { return flags&(unreachable|sick|ejected) != 0 && flags&left == 0 }
	switch {
	case out(after) && !out(before):
		b.balancer.out.Add(1)
	case out(before) && !out(after):
		b.balancer.out.Add(-1)
	}
}

// Observe tells the backend's health what an adapter learned without a
// request: that a connection was made or lost. Other outcomes than Success and
// Unreachable mean nothing here.
func (b *Backend) Observe(o health.Outcome) {
	changed, kind := false, EventReached
	switch o {
	case health.Success:
		changed = b.is(unreachable) && b.unset(unreachable)
	case health.Unreachable:
		changed, kind = b.set(unreachable), EventUnreachable
		b.reported.forget()
	}
	if !changed || b.Left() {
		return
	}
	if b.reached.Swap(true) || !b.balancer.hooks.ConnectFirst { // and not just connected for the first time
		b.balancer.happened(kind, b, "")
	}
	b.balancer.fitnessChanged(b)
}

// share returns which part of its share a backend in slow start should get.
func (b *Backend) share(now int64) float64 {
	window := b.balancer.slowStart
	age := time.Duration(now - b.joined)
	if age >= window {
		b.unset(warming)
		return 1
	}
	return health.SlowStart(age, window)
}
