package balancer

import (
	"math"
	"time"
)

// A server that is overloaded may ask for a pause with its failure (Retry-After of
// 503, RFC 9110, section 10.2.3). It gets one under every policy, within what the
// others can carry: half of the backends at most are out of rotation or spared, and
// none is once the others have several times as many requests waiting as before.

const (
	maxRetryAfter = 300 * time.Second
	crowdFactor   = 3 // times as many requests as before
	crowdMargin   = 2 // and that many more
)

// spare keeps requests from be for as long as its server asked.
func (b *Balancer) spare(be *Backend, d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || be.gone {
		return
	}
	now := b.hooks.Now()
	until := now + int64(min(d, maxRetryAfter))
	if be.is(spared) && be.isSpared(now) {
		be.spareTo.Store(max(be.spareTo.Load(), until))
		return
	}
	out, waiting := 1, int64(0)
	for _, other := range b.ordered {
		if other.is(unreachable|sick|ejected) || other.is(spared) && other.isSpared(now) {
			out++
		}
		waiting += other.pending.count()
	}
	if 2*out > len(b.ordered) {
		return
	}
	b.calm.Store(math.Float32bits(float32(waiting) / float32(len(b.ordered))))
	be.spareTo.Store(until)
	be.set(spared)
	b.republishLocked()
}

// isSpared reports whether b, which has asked for that, is still to be spared. Once
// it is not, it is not asked again.
func (b *Backend) isSpared(now int64) bool {
	calm := math.Float32frombits(b.balancer.calm.Load())
	if now < b.spareTo.Load() && b.balancer.crowd(now) <= crowdFactor*calm+crowdMargin {
		return true
	}
	if b.unset(spared) {
		b.balancer.hooks.AfterFunc(0, b.balancer.republish)
	}
	return false
}
