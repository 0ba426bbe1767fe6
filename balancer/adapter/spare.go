package adapter

import "time"

// A server that is overloaded may ask for a pause with its failure (Retry-After of
// 503, RFC 9110, section 10.2.3). It gets one under every policy, within what the
// others can carry: once the others are overloaded, see overload.go, it is used again.
// And where more than half of the backends are out of rotation or ask for a pause,
// the service as a whole has too much to do. To spare some would only move their load
// to the others, so none is spared for a while.

const (
	maxRetryAfter = 300 * time.Second
	unsparedTime  = 30 * time.Second // in which none is spared after too many have asked
)

// spare keeps requests from be for as long as its server asked.
func (b *Balancer) spare(be *Backend, d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || be.gone {
		return
	}
	now := b.hooks.Now()
	if now < b.unspared {
		return
	}
	until := now + int64(min(d, maxRetryAfter))
	if be.is(spared) && be.isSpared(now) {
		be.spareTo.Store(max(be.spareTo.Load(), until))
		return
	}
	out := 1
	for _, other := range b.ordered {
		if other.is(unreachable|sick|ejected) || other.is(spared) && other.isSpared(now) {
			out++
		}
	}
	if 2*out > len(b.ordered) {
		b.unspared = now + int64(unsparedTime)
		for _, other := range b.ordered {
			other.unset(spared)
		}
		b.republishLocked()
		return
	}
	b.rememberCalmLocked(be)
	be.spareTo.Store(until)
	be.set(spared)
	b.republishLocked()
}

// isSpared reports whether b, which has asked for that, is still to be spared. Once
// it is not, it is not asked again.
func (b *Backend) isSpared(now int64) bool {
	if now < b.spareTo.Load() && !b.balancer.isCrowded(now) {
		return true
	}
	if b.unset(spared) {
		b.balancer.hooks.AfterFunc(0, b.balancer.republish)
	}
	return false
}
