package adapter

import (
	"math"
	"time"
)

// No protection takes more than the rest can carry. What a backend could do is not
// known to a client, but two things tell that it does all it can: its answers take
// several times as long as the best that was seen, or several times as many requests
// wait there as before the first backend was taken out. Then what works in part is
// taken back.

const (
	crowdFactor  = 3                      // times as many requests as before
	crowdMargin  = 2                      // and that many more
	queueFactor  = 4                      // times the best latency
	queueMargin  = 10 * time.Millisecond  // and that much more
	bestTime     = 5 * time.Minute        // in which 63 % of what was best is forgotten
	waitingUnit  = 1024                   // an estimate has no values between 0 and 1
	relievePause = 100 * time.Millisecond // between two backends that are taken back
)

// crowd is how many requests wait for an answer at a backend that is no newcomer, on
// average, as measured when answers came.
func (b *Balancer) crowd(now int64) float32 {
	n, _ := b.waiting.read(now)
	return n / waitingUnit
}

// isIdle reports whether b has few requests that wait beside those of the others.
// Then it takes more, whatever holds it back.
func (b *Backend) isIdle(now int64) bool {
	return b.pending.count() < int64(b.balancer.crowd(now)/2)
}

// isCrowded reports whether the backends in rotation are overloaded for want of those
// that are out.
func (b *Balancer) isCrowded(now int64) bool {
	mean, _ := b.mean.read(now)
	best, _ := b.best.read(now)
	return best > 0 && mean > queueFactor*best+float32(queueMargin) ||
		b.crowd(now) > crowdFactor*math.Float32frombits(b.calm.Load())+crowdMargin
}

// measure takes note of the latency of a request, and of how many wait where it was
// answered. It is called now and then.
func (b *Balancer) measure(now int64, latency float32, waiting int64) {
	b.mean.bounded(now, latency)
	b.waiting.observe(now, float32(waiting)*waitingUnit)
	mean, _ := b.mean.read(now)
	best, idle := b.best.read(now)
	if best == 0 || mean < best {
		best = mean
	}
	b.best.word.Store(packEstimate(best+(mean-best)*min(idle/float32(bestTime), 1), now))
	b.relieveIfCrowded(now)
}

// rememberCalmLocked notes how many requests wait at a backend before the first one,
// be, is taken out. Those of be do not count: they may wait because it is bad.
func (b *Balancer) rememberCalmLocked(be *Backend) {
	if b.out.Load() > 0 {
		return
	}
	n, waiting := 0, int64(0)
	for _, other := range b.ordered {
		if other != be && !other.is(failing|ejected|unreachable|probesFailing) {
			n++
			waiting += other.pending.count()
		}
	}
	b.calm.Store(math.Float32bits(float32(waiting) / float32(max(n, 1))))
}

// isNeededLocked reports whether the others cannot do without a backend that works in
// part.
func (b *Balancer) isNeededLocked(now int64) bool {
	return b.isCrowded(now)
}

// relieveIfCrowded sees to it that a backend that is out comes back, if the others are
// overloaded. It is called now and then, with the time.
func (b *Balancer) relieveIfCrowded(now int64) {
	if b.out.Load() > 0 && b.isCrowded(now) && b.relieving.CompareAndSwap(false, true) {
		b.hooks.AfterFunc(relievePause, b.relieve)
	}
}
