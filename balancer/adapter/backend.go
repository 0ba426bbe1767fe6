package adapter

import (
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
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
	passed   atomic.Uint64 // pending when an answer last came, see unanswered
	open     load          // requests that have an answer and are not done, and streams
	estimate estimate
	served   tally     // for adaptive
	ended    ending    // but for most successes, where pending has them
	balancer *Balancer // read-only, as are rank, seed, joined and conn
	conn     Conn      // set before the first pick
	record   health.Record

	rank            uint64 // its place in this client's order of the backends
	seed            uint64 // of its places in the tables of keyed
	joined          int64  // when it came, for slow start
	ramp            atomic.Pointer[ramp]
	endpoint        atomic.Pointer[discovery.Endpoint]
	outUntil        atomic.Int64 // when an ejected one gets its probe
	retryAfterUntil atomic.Int64 // until when it its server asked for a pause
	reported        reported
	priority        atomic.Uint32
	number          uint32            // among the owners of its latest table, see keyed; guarded by the Balancer's publishing
	reached         atomic.Bool       // at least once
	probes          atomic.Uint32     // so far, and their ends
	works           atomic.Bool       // in part, when it was ejected
	streams         atomic.Int32      // of those in open
	view            *balancer.Backend // for a policy of the program's own, else nil; read-only
	gone            bool              // it is about to have left; guarded by the Balancer's mu
}

// The flags of a backend. Without any of them, it is picked like all others.
const (
	unreachable   uint32 = 1 << iota // its connection or dial failed
	probesFailing                    // active probes say so
	ejected                          // it failed too often
	left                             // no update names it any more
	denied                           // it should be ejected, but too many are
	joining                          // it is new here and proves itself, see ramp.go
	warming                          // it is in slow start
	failing                          // its last request failed, or was overtaken by a hedge
	offered                          // it waits for its probe, or that is under way
	retryAfter                       // it asked for a pause, see spare.go
	slowed                           // its last answer took many times the average
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
func (b *Backend) InFlight() int64 { return b.pending.count() + b.open.count() }

// acquire counts a request as in flight, since now. A stream never waits for its
// answer: how long it is silent says nothing of the backend.
func (b *Backend) acquire(now int64, stream bool) {
	if stream {
		b.streams.Add(1)
		b.open.start(b.kept(now))
		return
	}
	b.pending.start(b.kept(now))
}

// endStream takes a stream off those in flight.
func (b *Backend) endStream(start int64) {
	b.open.finish(b.kept(start))
	b.streams.Add(-1)
}

// release takes a request that started then off those that wait for an answer, and
// counts it by what became of it: before that, since a backend that is gone is
// forgotten when it has none in flight.
func (b *Backend) release(start int64, o health.Outcome) {
	if o == health.Success && !b.balancer.timed {
		b.pending.succeed()
		return
	}
	b.ended[o].Add(1)
	switch {
	case !b.balancer.timed:
		b.pending.finish(0)
	case o == health.Success || o == health.Failure:
		b.passed.Store(b.pending.finish(start))
	default:
		b.abandon(start)
	}
}

// abandon takes a request that got no answer off those that wait for one.
func (b *Backend) abandon(start int64) {
	b.pending.finish(b.kept(start))
	if b.balancer.timed && start <= b.estimate.changed(b.balancer.hooks.Now()) {
		b.passed.Add(-one(start)) // it was there when an answer last came
	}
}

// tally counts a request that is no longer in flight.
func (b *Backend) tally(o health.Outcome) {
	if o == health.Success && !b.balancer.timed {
		b.pending.tally()
		return
	}
	b.ended[o].Add(1)
}

// unanswered returns how many of the requests that wait have begun since an answer
// last came, and their mean age. Those before have been overtaken: the backend works,
// and they take long for reasons of their own.
func (b *Backend) unanswered(now int64) (n, age float32) {
	return b.pending.since(now, b.passed.Load())
}

// kept is the time that pending is told: the policy's, and not that of a sample.
func (b *Backend) kept(start int64) int64 {
	if !b.balancer.timed {
		return 0
	}
	return start
}

// outcomes returns what became of the requests.
func (b *Backend) outcomes() balancer.Outcomes {
	o := b.ended.read()
	if !b.balancer.timed {
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
	n := b.open.count()
	if n == 0 { // usually, and then nothing outside of the cache line is to be looked at
		return 0
	}
	return float32(n) * b.balancer.answered
}

// busyTime is for how many times the mean latency a request with an answer counts in
// full for a policy that goes by latencies.
const busyTime = 8

// busy is opened for a policy that goes by latencies, of which mean is the average:
// requests that are open for long (subscriptions) count less, as what they cost shows
// in the latencies of others.
func (b *Backend) busy(now int64, mean float32) float32 {
	n, age := b.open.read(now)
	if n == 0 {
		return 0
	}
	return n * b.balancer.answered * min(busyTime*max(mean, minLatency)/max(age, 1), 1)
}

// bounded is the number of requests that Config.BoundedLoad bounds: those in flight
// that are no streams.
func (b *Backend) bounded() int64 { return b.InFlight() - int64(b.streams.Load()) }

// Weight returns the weight of the backend's endpoint, one at least.
func (b *Backend) Weight() uint32 { return b.weight.Load() }

// Fit reports whether the backend is in rotation.
func (b *Backend) Fit() bool { return !b.is(unreachable | probesFailing | ejected | left) }

// Reachable reports whether the backend could be reached when that was last
// tried.
func (b *Backend) Reachable() bool { return !b.is(unreachable) }

// Left reports whether the backend's endpoint is gone from the target.
func (b *Backend) Left() bool { return b.is(left) }

// SetProbesFailing tells the backend's health whether active probes fail: it is out of
// rotation while they fail.
func (b *Backend) SetProbesFailing(now bool) {
	if now && b.set(probesFailing) || !now && b.unset(probesFailing) {
		kind := balancer.EventProbesPassing
		if now {
			kind = balancer.EventProbesFailing
		}
		b.balancer.recordEvent(kind, b, "")
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

// counted keeps count of the backends that are there and not fit, and of those that
// are held back.
func (b *Backend) counted(before, after uint32) {
	held := func(flags uint32) int64 {
		if flags&left != 0 {
			return 0
		}
		return int64(bits.OnesCount32(flags & (joining | warming | retryAfter)))
	}
	if n := held(after) - held(before); n != 0 {
		b.balancer.held.Add(n)
	}
	out := func(flags uint32) bool { return flags&(unreachable|probesFailing|ejected) != 0 && flags&left == 0 }
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
	changed, kind := false, balancer.EventReached
	switch o {
	case health.Success:
		changed = b.is(unreachable) && b.unset(unreachable)
	case health.Unreachable:
		changed, kind = b.set(unreachable), balancer.EventUnreachable
		b.reported.forget()
	}
	if !changed || b.Left() {
		return
	}
	if b.reached.Swap(true) || !b.balancer.hooks.ConnectFirst { // and not just connected for the first time
		b.balancer.recordEvent(kind, b, "")
		if o == health.Success {
			b.startRamp(b.balancer.hooks.Now())
		}
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
