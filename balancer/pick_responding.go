package balancer

import "github.com/sidestep-lb/sidestep/health"

// More states of a pick: it has begun to be answered, and what the answer means
// comes with its end.
const (
	responding      pickState = 100 + iota
	respondingProbe           // at a backend that is ejected and may come back
)

// Responding takes note that the backend has begun to answer and that what the
// answer means is said at its end: the headers of an RPC, say, whose status comes
// in trailers. Latency and age are taken now, and the outcome is that of Done. It
// stands in place of Answered.
func (p *Pick) Responding() {
	b := p.backend
	switch p.state {
	case waiting:
		p.state = responding
	case probing:
		p.state = respondingProbe
	default:
		return
	}
	b.open.Add(1)
	b.pending.finish(b.kept(p.start))
	if b.balancer.policy.timed || p.sample {
		p.start = b.balancer.hooks.Now() - p.start // from here on, how long it took
	}
	b.unset(unproven)
}

// doneResponding is the part of Done for a request of which Responding was told.
func (p *Pick) doneResponding(r Result) {
	b, state := p.backend, waiting
	if p.state == respondingProbe {
		state = probing
	}
	b.ended[r.Outcome].Add(1) // before it is taken off those in flight, see leave
	b.open.Add(-1)
	if p.start != 0 {
		p.start = b.balancer.hooks.Now() - p.start // so that it took no longer than until Responding
	}
	switch {
	case r.Outcome != health.Neutral:
		b.settle(p.start, state, r)
	case state == probing: // it works, and the request was wrong
		b.balancer.readmit(b)
	default:
		b.answered()
		b.record.Observe(health.Success, b.balancer.hooks.Now) // ends a row of failures like any other answer
	}
	if p.sample && r.Outcome != health.Neutral {
		b.sample(p.start, r.Outcome)
	}
}
