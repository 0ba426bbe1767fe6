package adapter

import "time"

// A server that is overloaded may ask for a pause with its failure (Retry-After of
// 503, RFC 9110, section 10.2.3). It gets one under every policy, within what the
// others can carry: once the others are overloaded, see overload.go, it is used again.
// And where more than half of the backends are out of rotation or ask for a pause,
// the service as a whole has too much to do. To leave some alone would only move their load
// to the others, so Retry-After is ignored for a while.

const (
	maxRetryAfter     = 300 * time.Second
	retryAfterIgnored = 30 * time.Second // in which it is ignored after too many have asked
)

// spare keeps requests from be for as long as its server asked.
func (b *Balancer) startRetryAfter(be *Backend, d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || be.gone {
		return
	}
	now := b.hooks.Now()
	if now < b.retryAfterIgnoredUntil {
		return
	}
	until := now + int64(min(d, maxRetryAfter))
	if be.is(retryAfter) && be.inRetryAfter(now) {
		be.retryAfterUntil.Store(max(be.retryAfterUntil.Load(), until))
		return
	}
	out := 1
	for _, other := range b.ordered {
		if other.is(unreachable|probesFailing|ejected) || other.is(retryAfter) && other.inRetryAfter(now) {
			out++
		}
	}
	if 2*out > len(b.ordered) {
		b.retryAfterIgnoredUntil = now + int64(retryAfterIgnored)
		for _, other := range b.ordered {
			other.unset(retryAfter)
		}
		b.republishLocked()
		return
	}
	b.rememberCalmLocked(be)
	be.retryAfterUntil.Store(until)
	be.set(retryAfter)
	b.republishLocked()
}

// inRetryAfter reports whether b, which has asked for that, is still to be left alone. Once
// it is not, it is not asked again.
func (b *Backend) inRetryAfter(now int64) bool {
	if now < b.retryAfterUntil.Load() && !b.balancer.isCrowded(now) {
		return true
	}
	if b.unset(retryAfter) {
		b.balancer.hooks.AfterFunc(0, b.balancer.republish)
	}
	return false
}
