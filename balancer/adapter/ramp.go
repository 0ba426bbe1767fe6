package adapter

import (
	"math"
	"sync/atomic"
	"time"
)

// A newcomer is admitted by its answers. A backend that joins others, comes back
// from an ejection, or is connected again may have one request waiting for its
// answer, then two, then four: twice as many after each round of answers that are
// about as fast as those of the others. Half as many after slow ones, and one after
// a failure. So a backend that works has its full share after a few answers, a cold
// one gets what it can do, and one that does not work costs a request at a time.
//
// The ramp ends when the backend has proven itself. A newcomer that is asked and
// says nothing for a second is given more, too: it may be that its requests are
// long polls. It may always have as many requests as half of what the others have,
// so that it takes over when they are overloaded; and where newcomers are nearly
// all there is, none is held back (see rotate).
//
// It is called a ramp to tell it from the slow start of Config.SlowStart, which goes
// by the clock.

const (
	rampEnd      = 4                // requests in flight that prove a backend, if the others do not have more
	rampPatience = time.Second      // without an answer, after which it gets more
	rampSlow     = 2                // times the mean of the others: an answer that is slow
	rampMargin   = time.Millisecond // by which it has to be slower
	maxRamp      = 30 * time.Second // after that, a backend that is slow is just slow
	rampWeight   = 0.25             // of an answer in the average
)

// A ramp is the state of a newcomer. It is nil for all others.
type ramp struct {
	began   int64         // read-only
	limit   atomic.Int32  // requests that may wait for an answer
	answers atomic.Int32  // in this round
	changed atomic.Int64  // when the limit was last set, or an answer came
	latency atomic.Uint32 // a moving average, as a float32; 0 if nothing was measured
}

// startRamp makes b a newcomer.
func (b *Backend) startRamp(now int64) {
	r := &ramp{began: now}
	r.limit.Store(1)
	r.changed.Store(now)
	b.ramp.Store(r)
	b.set(joining)
}

// endRamp gives b its full share.
func (b *Backend) endRamp() {
	b.ramp.Store(nil)
	if b.unset(joining) {
		b.balancer.republish()
	}
}

// admits reports whether the ramp lets another request go to b.
func (r *ramp) admits(b *Backend, now int64) bool {
	limit := int64(r.limit.Load())
	if b.pending.count() < limit || b.isIdle(now) || now-r.began > int64(maxRamp) && !b.is(failing) {
		return true
	}
	changed := r.changed.Load()
	if now-changed < int64(rampPatience) || !r.changed.CompareAndSwap(changed, now) {
		return false
	}
	r.limit.Store(int32(min(2*limit, math.MaxInt32/2)))
	return true
}

// answered takes note of an answer, and of how long it took. A latency of 0 is not
// known, and as good as any.
func (r *ramp) answered(b *Backend, now int64, latency, usual float32) {
	r.changed.Store(now)
	if b.balancer.timed {
		b.endRamp() // what it can do shows in its latency from now on
		return
	}
	if latency > 0 && r.isSlow(latency, usual) {
		if now-r.began > int64(maxRamp) {
			b.endRamp()
			return
		}
		r.answers.Store(0)
		r.limit.Store(max(r.limit.Load()/2, 1))
		return
	}
	limit := r.limit.Load()
	if r.answers.Add(1) < limit {
		return
	}
	r.answers.Store(0)
	r.limit.Store(2 * limit)
	if float32(2*limit) >= max(rampEnd, 2*b.balancer.crowd(now)) {
		b.endRamp()
	}
}

// isSlow adds a latency to the average and reports whether that is more than usual.
func (r *ramp) isSlow(latency, usual float32) bool {
	average := math.Float32frombits(r.latency.Load())
	if average == 0 {
		average = latency
	}
	average += rampWeight * (latency - average)
	r.latency.Store(math.Float32bits(average))
	return usual > 0 && average > rampSlow*usual+float32(rampMargin)
}

// failed takes note of a failure.
func (r *ramp) failed(now int64) {
	r.answers.Store(0)
	r.limit.Store(1)
	r.changed.Store(now)
}
