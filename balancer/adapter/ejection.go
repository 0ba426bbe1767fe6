package adapter

import (
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/health"
)

// Ejection takes a backend that answers with failures out of rotation for a
// time. Then the next request that comes is its probe: it comes back if that
// succeeds, and else stays out for longer.

// eject takes be out of rotation for what it is suspected of, if it does worse than
// the others and not too many are out already.
func (b *Balancer) eject(be *Backend, cause health.Cause) {
	if b.config.MaxEjectedPercent < 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.hooks.Now()
	if b.closed || be.is(ejected) || be.gone || now < b.noEjectionsUntil { // or it leaves
		return
	}
	if !b.isWorseLocked(be, cause, now) {
		if cause == health.Consecutive && be.set(denied) && b.allFailLocked() {
			b.failOpenLocked()
		}
		return
	}
	if be.works.Store(be.record.Conduct(now).Works()); be.works.Load() && b.isNeededLocked(now) {
		return
	}
	if b.ejected < b.maxEjectedLocked() {
		b.rememberCalmLocked(be)
		b.ejected++
		be.set(ejected)
		be.unset(denied)
		b.counts.ejections[cause].Add(1)
		b.recordEvent(balancer.EventEjected, be, cause.String()+" for "+b.ejectForLocked(be).Round(time.Millisecond).String())
		b.rotationDueLocked(be)
		return
	}
	if be.set(denied); b.allFailLocked() {
		b.failOpenLocked()
	}
}

// restTime is how long what the others do is not looked at again, for each of them.
// To look at all after each failure would make a target of thousands that fails as a
// whole fail slowly.
const restTime = 10 * time.Microsecond

// isWorseLocked reports whether be does worse than the others.
func (b *Balancer) isWorseLocked(be *Backend, cause health.Cause, now int64) bool {
	own := be.record.Conduct(now)
	rest := b.restOfLocked(own, now)
	return rest.Worse(cause, own)
}

// isUnusual reports whether the failures of be are more than all others have as well.
func (b *Balancer) isUnusual(be *Backend, now int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	own := be.record.Conduct(now)
	rest := b.restOfLocked(own, now)
	if rest.Unusual(own) {
		return true
	}
	b.reconsiderLocked(now)
	return false
}

// reconsiderPeriod is the shortest time between two looks at all backends.
const reconsiderPeriod = 100 * time.Millisecond

// reconsiderLocked takes back what the estimates of backends hold of failures that
// have turned out to be nothing unusual: the first one to fail was alone with it.
func (b *Balancer) reconsiderLocked(now int64) {
	if now-b.reconsidered < int64(reconsiderPeriod) {
		return
	}
	b.reconsidered = now
	mean, _ := b.mean.read(now)
	for _, other := range b.ordered {
		if average, _ := other.estimate.read(now); average <= mean || !other.is(failing) || other.is(ejected) {
			continue
		}
		own := other.record.Conduct(now)
		if rest := b.restOfLocked(own, now); !rest.Unusual(own) {
			other.estimate.word.Store(packEstimate(mean, now))
		}
	}
}

// restOfLocked returns what the others did, beside a backend with this conduct.
func (b *Balancer) restOfLocked(own health.Conduct, now int64) health.Rest {
	if now-b.restAt >= int64(len(b.ordered))*int64(restTime) || b.restUses >= len(b.ordered)/8 {
		b.restAt, b.restUses = now, 0
		b.rest = health.Rest{}
		for _, other := range b.ordered {
			if !other.is(ejected | unreachable | probesFailing | left) {
				c := other.record.Conduct(now)
				c.Fresh = c.Fresh || other.is(joining)
				b.rest.Add(c)
			}
		}
	}
	b.restUses++
	rest := b.rest
	rest.Remove(own)
	return rest
}

// maxEjectedLocked is how many backends may be ejected at once, and never the last
// one. It is called with mu held.
func (b *Balancer) maxEjectedLocked() int {
	percent := b.config.MaxEjectedPercent
	if percent == 0 {
		percent = defaultMaxEjectedPercent
	}
	return min(len(b.ordered)*percent/100, len(b.ordered)-1)
}

// ejectForLocked sets the time for the probe, and returns how long that is from now. It
// is called with mu held.
func (b *Balancer) ejectForLocked(be *Backend) time.Duration {
	be.unset(offered)
	be.probes.Add(1)
	now := b.hooks.Now()
	d := be.record.Eject(now, b.hooks.Random)
	be.outUntil.Store(now + int64(d))
	b.hooks.AfterFunc(d, func() { b.offer(be) })
	return d
}

// allFailLocked reports whether each backend is ejected or should be. It is called
// with mu held.
func (b *Balancer) allFailLocked() bool {
	for _, be := range b.ordered {
		if !be.is(ejected | denied | unreachable | probesFailing) {
			return false
		}
	}
	return true
}

// failOpenTime is how long no backend is ejected after all have failed.
const failOpenTime = 10 * time.Second

// failOpenLocked puts all backends back into rotation: when all fail, the cause is none
// of them, and to have half of them out would only keep the others overloaded
// when it has gone (fail open). It is called with mu held.
func (b *Balancer) failOpenLocked() {
	b.noEjectionsUntil = b.hooks.Now() + int64(failOpenTime)
	for _, be := range b.ordered {
		be.unset(denied)
		if be.is(ejected) {
			b.restoreLocked(be)
		}
	}
	b.toProbe = nil
	b.probe.Store(nil)
	b.recordEvent(balancer.EventPardoned, nil, "")
}

// relieve ends the ejection of a backend that works in part, when the others have
// become overloaded without it.
func (b *Balancer) relieve() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.relieving.Store(false)
	now := b.hooks.Now()
	if b.closed || !b.isCrowded(now) {
		return
	}
	for _, be := range b.ordered {
		if be.is(ejected) && be.works.Load() && !be.is(unreachable|probesFailing) {
			b.counts.readmissions.Add(1)
			b.recordEvent(balancer.EventReadmitted, be, "the others are overloaded")
			b.restoreLocked(be)
			return
		}
	}
}

// restoreLocked puts be back into rotation. It is called with mu held.
func (b *Balancer) restoreLocked(be *Backend) {
	if be.unset(ejected) {
		be.unset(offered)
		be.probes.Add(1)
		b.ejected--
		be.record.Readmit(b.hooks.Now())
		b.rotationDueLocked(be)
	}
}

// offer makes be the next to be probed, if it is not that already: what was due
// to end an ejection that failOpenLocked ended comes later, too.
func (b *Balancer) offer(be *Backend) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || !be.is(ejected) || be.is(left) || !be.set(offered) {
		return
	}
	if !b.probe.CompareAndSwap(nil, be) {
		b.toProbe = append(b.toProbe, be)
	}
}

// unreachableTime is how long the probe of a backend waits that cannot be
// reached at all.
const unreachableTime = time.Second

// pickProbe returns the pick of a backend that waits for its probe, if there is
// one that the request may go to.
func (b *Balancer) pickProbe(r *Request) (Pick, bool) {
	be := b.probe.Load()
	if be == nil || !be.is(left|unreachable) && !r.usable(be, 0) || !b.probe.CompareAndSwap(be, nil) {
		return Pick{}, false // there is none for this request, or another request is faster
	}
	b.mu.Lock()
	if len(b.toProbe) > 0 && b.probe.CompareAndSwap(nil, b.toProbe[0]) {
		b.toProbe = b.toProbe[1:]
	}
	b.mu.Unlock()
	if be.is(left | unreachable) {
		be.unset(offered)
		b.hooks.AfterFunc(unreachableTime, func() { b.offer(be) })
		return Pick{}, false
	}
	be.acquire(r.now, r.Stream)
	stream, class, number := r.Stream, r.Class, be.probes.Add(1)
	b.hooks.AfterFunc(probePatience, func() { b.silent(be, number, stream, class) })
	return Pick{backend: be, start: r.now, class: class, state: probing, marks: marksOf(stream, false)}, true
}

// probePatience is how long a probe may be silent.
const probePatience = time.Second

// silent is called when a probe has had no answer for a while, or had one long ago. A
// stream that has been accepted, or a request whose like take that long, has shown
// that the backend works. Of any other, nothing is known, so the next request is a
// probe as well.
func (b *Balancer) silent(be *Backend, number uint32, stream bool, class uint64) {
	switch {
	case be.probes.Load() != number || !be.is(offered):
		return // it has ended
	case stream, class != 0 && b.usual(class, b.hooks.Now()) > float32(probePatience)/2:
		b.readmit(be)
	default:
		b.probed(be, health.Neutral)
	}
}

// probed takes note of how the probe of be ended.
func (b *Balancer) probed(be *Backend, o health.Outcome) {
	switch o {
	case health.Success:
		b.readmit(be)
	case health.Neutral:
		be.unset(offered)
		b.offer(be)
	default:
		if o == health.Unreachable {
			be.Observe(o)
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		if !b.closed && be.is(ejected) && !be.is(left) {
			b.ejectForLocked(be)
		}
	}
}

// readmit ends the ejection of a backend whose probe succeeded. What its
// estimate remembers of the failures goes.
func (b *Balancer) readmit(be *Backend) {
	be.answered()
	be.estimate.word.Store(0)
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed && be.is(ejected) {
		b.counts.readmissions.Add(1)
		b.recordEvent(balancer.EventReadmitted, be, "")
		b.restoreLocked(be)
		be.startRamp(b.hooks.Now())
	}
}
