package balancer

import (
	"time"

	"github.com/sidestep-lb/sidestep/health"
)

const (
	// maxDraws is how often the policy is asked for a backend that the request
	// may go to and that is not to be spared. After that it may be one that is:
	// those that come on top are few (Finagle's panic mode, with its default).
	maxDraws = 5
	// maxScan bounds the search after that.
	maxScan = 64
)

// A Pick is a request in flight at a backend. It ends with Done. It is a value
// that may be copied, but Answered and Done are for one copy.
type Pick struct {
	backend *Backend
	start   int64
	state   pickState
	sample  bool           // see sample.go
	answer  health.Outcome // what it was Answered with
}

type pickState uint8

const (
	waiting  pickState = iota // for the answer
	answered                  // and not done yet
	probing                   // waiting, at a backend that is ejected and may come back
)

// Backend returns where the request is to go.
func (p *Pick) Backend() *Backend { return p.backend }

// Plain reports whether the pick says nothing but its backend, as those of
// policies that keep no time do. Then [Backend.Picked] is the same pick, so an
// adapter need not keep it until the request is done.
func (p *Pick) Plain() bool { return p.start == 0 && p.state == waiting && !p.sample }

// Picked returns a Plain pick of b. It counts nothing: the request has been
// counted by the Pick whose place it takes.
func (b *Backend) Picked() Pick { return Pick{backend: b} }

// A Result is what became of a request.
type Result struct {
	Outcome health.Outcome
	// RetryAfter is how long the server asked to be spared, with a failure:
	// Retry-After of HTTP, or gRPC's pushback. More than 300 s counts as 300 s.
	RetryAfter time.Duration
	// Overtaken says that the request was given up because another backend had
	// answered it, with a Neutral outcome. Nothing is held against the backend,
	// but it takes at least as long as that.
	Overtaken bool
	// SameEvent says that a failure belongs to an event that has been held against
	// the backend already, such as the loss of a connection that carried several
	// requests, or that is held against nobody. The request counts as failed, and
	// the health of the backend does not hear of it.
	SameEvent bool
}

// Pick returns a backend for the next request and counts the request as in
// flight there, until it is done. The error is ErrEmpty, ErrNoneFit or ErrBusy.
func (b *Balancer) Pick(r Request) (Pick, error) {
	r.balancer = b
	sample := b.takesSample()
	if b.policy.timed || sample {
		r.now = b.hooks.Now()
	}
	if b.probe.Load() != nil {
		if p, ok := b.pickProbe(&r); ok {
			b.count(1)
			return p, nil
		}
	}
	for {
		rotation := b.rotation.Load()
		be, err := rotation.pick(r)
		if err == nil {
			be.enter(r.now)
			b.count(1)
			return Pick{backend: be, start: r.now, sample: sample}, nil
		}
		if b.rotation.Load() == rotation {
			b.counts.noBackend.Add(1)
			return Pick{}, err
		}
	}
}

// Take is a pick of one certain backend, fit or not, for an adapter that has to
// reach each of them.
func (b *Balancer) Take(be *Backend) Pick {
	p := Pick{backend: be}
	if b.policy.timed {
		p.start = b.hooks.Now()
	}
	be.enter(p.start)
	b.count(1)
	return p
}

func (t *rotation) pick(r Request) (*Backend, error) {
	if len(t.levels) == 0 {
		return nil, t.err
	}
	if r.ignore = t.ignore; r.ignore != 0 {
		r.balancer.counts.failOpens.Add(1)
	}
	l := &t.levels[0]
	if len(t.levels) > 1 {
		l = t.draw(r.chance())
	}
	for range maxDraws {
		if be := l.picker.Pick(r); be != nil && r.usable(be, be.flags.Load()) {
			return be, nil
		}
		r.balancer.counts.redraws.Add(1)
	}
	r.anyPace = true
	if be := l.picker.Pick(r); be != nil && r.usable(be, be.flags.Load()) {
		return be, nil
	}
	return t.search(&r)
}

// search finds a usable backend where the policy did not: when nearly all of
// the rotation became unfit since it was published, or has been tried, or is
// busy.
func (t *rotation) search(r *Request) (*Backend, error) {
	var spare *Backend // unfit, but there
	busy := false
	for i := range t.levels {
		l := &t.levels[i]
		n := uint32(len(l.backends))
		first := scale(uint32(r.Random()), n)
		for k := range min(n, maxScan) {
			be := l.backends[(first+k)%n]
			flags := be.flags.Load()
			limit := int64(r.balancer.config.MaxInFlight)
			switch {
			case r.usable(be, flags):
				return be, nil
			case limit > 0 && be.InFlight() >= limit:
				busy = true
			case flags&left == 0:
				spare = be
			}
		}
	}
	switch {
	case spare != nil && len(r.Tried) == 0 && !r.balancer.hooks.ConnectFirst:
		return spare, nil // fail open, a moment before the rotation says so
	case busy:
		return nil, ErrBusy
	default:
		return nil, ErrNoneFit
	}
}

// Sent takes note that the request goes out only now: the adapter has made a
// connection for it. What that took, with a TLS handshake it is many times as much
// as an answer takes, is no latency to be expected of the backend, which would be
// avoided for it.
func (p *Pick) Sent() {
	b := p.backend
	if !b.balancer.policy.timed && !p.sample || p.state == answered {
		return
	}
	now := b.balancer.hooks.Now()
	b.pending.restart(b.kept(p.start), b.kept(now))
	p.start = now
}

// Answered takes note that the backend has answered, while the request goes on:
// a stream with its first message, or a response with its headers. The request
// counts as in flight until Done, which also counts its outcome, but for its age
// and latency this is its end. A Neutral outcome is an answer that says that the
// request was wrong: with Done it ends a row of failures, and no latency is taken
// from it.
func (p *Pick) Answered(r Result) {
	b, state := p.backend, p.state
	if state == answered {
		return
	}
	b.open.Add(1)
	b.pending.finish(b.kept(p.start))
	p.state, p.answer = answered, r.Outcome
	switch {
	case r.Outcome != health.Neutral:
		b.settle(p.start, state, r)
		if p.sample {
			b.sample(p.start, r.Outcome)
		}
		return
	case state == probing:
		b.balancer.readmit(b)
	default:
		b.answered()
	}
}

// Done ends the request and counts its outcome. It is to be called exactly once
// for each pick. After Answered, a Neutral outcome leaves it at what the answer was.
func (p *Pick) Done(r Result) {
	b := p.backend
	b.balancer.count(-1)
	if p.state == answered {
		final := r.Outcome
		if final == health.Neutral {
			final = p.answer
		}
		b.ended[final].Add(1) // before it is taken off those in flight, see leave
		b.open.Add(-1)
		switch {
		case r.Outcome.Failed() && !r.SameEvent: // it broke off, which says nothing of the latency
			b.fail(r.Outcome)
		case final == health.Neutral: // a request that was wrong ends a row of failures like any other answer
			b.record.Observe(health.Success, b.balancer.hooks.Now)
		}
		return
	}
	b.leave(p.start, r.Outcome)
	b.settle(p.start, p.state, r)
	if p.sample {
		b.sample(p.start, r.Outcome)
	}
}

// Undo ends a pick that never became a request. It stands in place of Done.
func (p *Pick) Undo() {
	b := p.backend
	b.balancer.count(-1)
	b.pending.finish(b.kept(p.start))
	if p.state == probing {
		b.balancer.probed(b, health.Neutral)
	}
}

// settle takes note of what became of a request.
func (b *Backend) settle(start int64, state pickState, r Result) {
	if r.SameEvent {
		r.Outcome = health.Neutral
	}
	switch {
	case state == probing:
		b.balancer.probed(b, r.Outcome)
	case r.Outcome == health.Success:
		b.succeed(start)
	case r.Overtaken:
		b.overtaken(start)
	case r.Outcome == health.Unreachable: // it is out at once
		b.fail(r.Outcome)
	case r.Outcome.Failed():
		b.penalize(start, r)
		b.fail(r.Outcome)
	}
}

// succeed takes note of an answer to a request that started then.
func (b *Backend) succeed(start int64) {
	b.answered()
	b.record.Observe(health.Success, b.balancer.hooks.Now)
	if b.balancer.policy.timed {
		now := b.balancer.hooks.Now()
		latency := float32(now - start)
		b.balancer.policy.observe(&b.estimate, now, latency)
		if mean := &b.balancer.mean; mean.older(now, meanPeriod) {
			mean.observe(now, latency)
		}
	}
}

// meanPeriod is the shortest time between two latencies that the mean of all
// backends is made of. All picks read it, so each change makes all CPUs fetch it
// anew; and the first one to end after a while is as good a sample as all.
const meanPeriod = 100 * time.Microsecond

// overtaken makes a request that was given up count like a latency, if it is a
// long one. That is all that is known when it is the only one. But where one after
// another is overtaken with no answer between, the backend may well answer none,
// and each doubles what is expected of it.
func (b *Backend) overtaken(start int64) {
	if !b.balancer.policy.timed {
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
		b.balancer.policy.observe(&b.estimate, now, waited)
	}
}

// answered takes back what an answer disproves. Where a backend is fit while it
// is connected, that is for its connection to say: the answer may be the last
// one that came over it.
func (b *Backend) answered() {
	if !b.is(unreachable | denied | unproven | failing) {
		return
	}
	b.unset(unproven | denied | failing)
	if !b.balancer.hooks.ConnectFirst {
		b.Observe(health.Success)
	}
}

// fail holds a failure against the backend.
func (b *Backend) fail(o health.Outcome) {
	if o == health.Unreachable {
		b.Observe(o)
	}
	if cause := b.record.Observe(o, b.balancer.hooks.Now); cause != health.NoCause {
		b.balancer.eject(b, cause)
	}
}

const (
	minPenalty    = time.Second
	meanPenalty   = 10 // times the mean latency
	maxRetryAfter = 300 * time.Second
)

// penalize makes a failure count like a long latency. Otherwise a backend that
// fails fast looks like the best of all.
func (b *Backend) penalize(start int64, r Result) {
	if !b.balancer.policy.timed {
		return
	}
	b.set(failing)
	now := b.balancer.hooks.Now()
	sample, _ := b.estimate.read(now)
	switch mean, _ := b.balancer.mean.read(now); {
	case r.RetryAfter > 0: // the server knows; its word is no sample to be averaged
		b.estimate.word.Store(packEstimate(max(sample, float32(min(r.RetryAfter, maxRetryAfter))), now))
		return
	case r.Outcome == health.Timeout:
		sample = max(sample, float32(now-start))
	default:
		sample = max(sample, float32(minPenalty), meanPenalty*mean)
	}
	b.balancer.policy.observe(&b.estimate, now, sample)
}
