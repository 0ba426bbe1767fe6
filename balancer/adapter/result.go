package adapter

import (
	"time"

	"github.com/sidestep-lb/sidestep/health"
)

// What became of a request is told to the health of its backend, to its estimate and
// ramp, and to the averages of all.

// recordResult takes note of what became of a request.
func (b *Backend) recordResult(start int64, class uint64, state pickState, r Result) {
	if r.SameEvent {
		r.Outcome = health.Neutral
	}
	if r.RetryAfter > 0 && r.Outcome.Failed() {
		b.balancer.startRetryAfter(b, r.RetryAfter)
	}
	if r.Outcome == health.Timeout && start != 0 { // that is no answer, but it tells of a level that drowns
		now := b.balancer.hooks.Now()
		b.balancer.observeLevel(b, now, float32(now-start))
	}
	switch {
	case state == probing:
		b.balancer.probed(b, r.Outcome)
	case r.Outcome == health.Success:
		b.succeed(start, class)
	case r.CensoredLatency:
		b.addCensoredLatency(start)
	case r.Outcome == health.Unreachable: // it is out at once
		b.fail(r.Outcome)
	case r.Outcome == health.Timeout && b.impatient(start, class):
	case r.Outcome.Failed():
		b.fail(r.Outcome)
		b.penalize(start, r)
	}
}

// observeLatency adds a latency to the estimate. The first one that is an outlier
// counts little. If the next one is like it, the backend has become slow.
func (b *Backend) observeLatency(now int64, latency float32) {
	average, _ := b.estimate.read(now)
	switch {
	case average > 0 && latency > outlier*average+minOutlier && b.set(slowed):
		b.estimate.add(now, outlier*average+minOutlier, outlierWeight)
	case b.is(slowed) && latency <= outlier*average+minOutlier:
		b.unset(slowed)
		fallthrough
	default:
		b.estimate.observe(now, latency)
	}
}

// impatient reports whether a request that ran out of time had less of it than its
// class usually takes, so that it would have failed anywhere.
func (b *Backend) impatient(start int64, class uint64) bool {
	if start == 0 || class == 0 {
		return false
	}
	now := b.balancer.hooks.Now()
	return float32(now-start) < b.balancer.usual(class, now)
}

// succeed takes note of an answer to a request that started then, if that is known.
func (b *Backend) succeed(start int64, class uint64) {
	b.answered()
	b.record.Observe(health.Success, b.balancer.hooks.Now)
	if start == 0 {
		b.rampAnswered(0, 0, 0)
		return
	}
	now := b.balancer.hooks.Now()
	b.rampAnswered(now, float32(now-start), class)
	latency, ok := b.balancer.normalize(class, now, float32(now-start), b.is(joining))
	if !ok {
		return
	}
	if b.balancer.timed {
		b.observeLatency(now, latency)
	}
	b.balancer.observeLevel(b, now, latency)
	if mean := &b.balancer.mean; mean.older(now, meanPeriod) && (!b.is(joining) || mean.older(now, newcomersMean)) {
		b.balancer.measure(now, float32(now-start), b.pending.count())
	}
}

// rampAnswered takes note of an answer of a newcomer.
func (b *Backend) rampAnswered(now int64, latency float32, class uint64) {
	if !b.is(joining) {
		return
	}
	if now == 0 {
		now = b.balancer.hooks.Now()
	}
	if r := b.ramp.Load(); r != nil {
		r.answered(b, now, latency, b.balancer.usual(class, now))
	}
}

// meanPeriod is the shortest time between two latencies that the mean of all
// backends is made of. All picks read it, so each change makes all CPUs fetch it
// anew; and the first one to end after a while is as good a sample as all.
const meanPeriod = 100 * time.Microsecond

// newcomersMean is for how long there is no answer from another backend before those of
// newcomers are part of the mean.
const newcomersMean = time.Second

// addCensoredLatency makes a request that was given up count like a latency, if it is a
// long one. That is all that is known when it is the only one. But where one after
// another is overtaken with no answer between, the backend may well answer none,
// and each doubles what is expected of it.
func (b *Backend) addCensoredLatency(start int64) {
	if !b.balancer.timed {
		return
	}
	now := b.balancer.hooks.Now()
	waited := float32(now - start)
	sample, _ := b.estimate.read(now)
	switch first := b.set(failing); {
	case !first:
		doubled := min(2*max(sample, waited), float32(minPenalty))
		b.estimate.word.Store(packEstimate(max(sample, doubled), now))
	case waited > sample:
		b.estimate.observe(now, waited)
	}
}

// answered takes back what an answer disproves. Where a backend is fit while it
// is connected, that is for its connection to say: the answer may be the last
// one that came over it.
func (b *Backend) answered() {
	if !b.is(unreachable | denied | failing) {
		return
	}
	b.unset(denied | failing)
	if !b.balancer.hooks.ConnectFirst {
		b.Observe(health.Success)
	}
}

// fail holds a failure against the backend.
func (b *Backend) fail(o health.Outcome) {
	if o == health.Unreachable {
		b.Observe(o)
	}
	b.set(failing)
	if r := b.ramp.Load(); r != nil {
		r.failed(b.balancer.hooks.Now())
	}
	if cause := b.record.Observe(o, b.balancer.hooks.Now); cause != health.NoCause {
		b.balancer.eject(b, cause)
	}
}

const (
	minPenalty  = time.Second
	meanPenalty = 10  // times the mean latency
	latePenalty = 1.2 // times what a request waited that ran out of time: it would have taken longer
)

// penalize makes a failure count like a long latency. Otherwise a backend that
// fails fast looks like the best of all.
func (b *Backend) penalize(start int64, r Result) {
	if !b.balancer.timed {
		return
	}
	now := b.balancer.hooks.Now()
	if r.Outcome != health.Timeout && !b.balancer.isUnusual(b, now) {
		return // it fails as they all do, and to avoid it for that would load the others
	}
	sample, _ := b.estimate.read(now)
	if r.Outcome == health.Timeout {
		sample = max(sample, latePenalty*float32(now-start))
	} else {
		mean, _ := b.balancer.mean.read(now)
		sample = max(sample, float32(minPenalty), meanPenalty*mean)
	}
	b.estimate.observe(now, sample)
}
