package adapter

import (
	"time"

	"github.com/sidestep-lb/sidestep/health"
)

// A Result is what became of a request.
type Result struct {
	Outcome health.Outcome
	// RetryAfter is the pause that the server asked for, with a failure: the
	// Retry-After of a 503. It is granted within what the others can carry, for 300 s
	// at most. A Retry-After that speaks of the caller (429) does not belong here.
	RetryAfter time.Duration
	// CensoredLatency says that the request was given up because another backend had
	// answered it, with a Neutral outcome. Nothing is held against the backend,
	// but it takes at least as long as that.
	CensoredLatency bool
	// SameEvent says that a failure belongs to an event that has been held against
	// the backend already, such as the loss of a connection that carried several
	// requests, or that is held against nobody. The request counts as failed, and
	// the health of the backend does not hear of it.
	SameEvent bool
}

// Sent takes note that the request goes out only now: the adapter has made a
// connection for it. What that took, with a TLS handshake it is many times as much
// as an answer takes, is no latency to be expected of the backend, which would be
// avoided for it.
func (p *Pick) Sent() {
	b := p.backend
	if p.start == 0 || p.state > probing {
		return
	}
	now := b.balancer.hooks.Now()
	if p.stream() {
		b.open.restart(b.kept(p.start), b.kept(now))
	} else {
		b.pending.restart(b.kept(p.start), b.kept(now))
	}
	p.start = now
}

// Answered takes note that the backend has answered, while the request goes on:
// a stream with its first message, or a response with its headers. The request
// counts as in flight until Done, which also counts its outcome, but for its age
// and latency this is its end. A Neutral outcome is an answer that says that the
// request was wrong: it ends a row of failures, and no latency is taken from it.
func (p *Pick) Answered(r Result) {
	if p.state > probing {
		return
	}
	b, state := p.backend, p.state
	p.open()
	p.state, p.outcome = answered, r.Outcome
	if r.Outcome == health.Neutral {
		b.accepted(state)
		return
	}
	b.recordResult(p.start, p.class, state, r)
	if p.marks&sampled != 0 {
		b.sample(p.start, r.Outcome)
	}
}

// Responding takes note that the backend has begun to answer and that what the
// answer means is said at its end: the headers of an RPC, say, whose status comes
// in trailers. Latency and age are taken now, and the outcome is that of Done. It
// stands in place of Answered.
func (p *Pick) Responding() {
	if p.state > probing {
		return
	}
	p.open()
	if p.state == probing {
		p.state = respondingProbe
	} else {
		p.state = responding
	}
}

// open takes a request off those that wait for an answer, and adds it to those that
// have one.
func (p *Pick) open() {
	b := p.backend
	if p.start != 0 {
		p.heard = b.balancer.hooks.Now()
	}
	if p.stream() {
		return // it is open since it began
	}
	b.open.start(b.kept(p.heard))
	b.passed.Store(b.pending.finish(b.kept(p.start)))
}

// close takes a request that is open off those in flight.
func (p *Pick) close() {
	if p.stream() {
		p.backend.endStream(p.start)
		return
	}
	p.backend.open.finish(p.backend.kept(p.heard))
}

// Done ends the request and counts its outcome. It is to be called exactly once for
// each pick. After Answered, a Neutral outcome leaves it at what the answer was.
func (p *Pick) Done(r Result) {
	b := p.backend
	b.balancer.count(-1, p.stream())
	if b.balancer.observer != nil {
		p.observeEnd(r)
	}
	switch p.state {
	case answered:
		p.doneAnswered(r)
		return
	case responding, respondingProbe:
		p.doneResponding(r)
		return
	}
	if p.stream() {
		b.tally(r.Outcome)
		b.endStream(p.start)
	} else {
		b.release(p.start, r.Outcome)
	}
	b.recordResult(p.start, p.class, p.state, r)
	if p.marks&sampled != 0 {
		b.sample(p.start, r.Outcome)
	}
}

// doneAnswered is the part of Done for a request that was Answered.
func (p *Pick) doneAnswered(r Result) {
	b, outcome := p.backend, r.Outcome
	if outcome == health.Neutral {
		outcome = p.outcome
	}
	b.tally(outcome)
	p.close()
	switch {
	case r.Outcome.Failed() && !r.SameEvent: // it broke off, which says nothing of the latency
		b.fail(r.Outcome)
	case outcome == health.Neutral: // a request that was wrong ends a row of failures like any other answer
		b.record.Observe(health.Success, b.balancer.hooks.Now)
	}
}

// doneResponding is the part of Done for a request of which Responding was told.
func (p *Pick) doneResponding(r Result) {
	b, state := p.backend, waiting
	if p.state == respondingProbe {
		state = probing
	}
	b.tally(r.Outcome)
	p.close()
	if r.Outcome == health.Neutral {
		b.accepted(state)
		b.record.Observe(health.Success, b.balancer.hooks.Now)
		return
	}
	start := int64(0)
	if p.start != 0 {
		start = b.balancer.hooks.Now() - (p.heard - p.start) // so that it took no longer than until Responding
	}
	b.recordResult(start, p.class, state, r)
	if p.marks&sampled != 0 {
		b.sample(start, r.Outcome)
	}
}

// accepted takes note of an answer that says that the request was wrong. It proves
// that the backend works.
func (b *Backend) accepted(state pickState) {
	if state == probing {
		b.balancer.readmit(b)
		return
	}
	b.answered()
	b.rampAnswered(0, 0, 0)
}

// Undo ends a pick that never became a request. It stands in place of Done.
func (p *Pick) Undo() {
	b := p.backend
	b.balancer.count(-1, p.stream())
	if p.stream() {
		b.endStream(p.start)
	} else {
		b.abandon(p.start)
	}
	if p.state == probing {
		b.balancer.probed(b, health.Neutral)
	}
}
