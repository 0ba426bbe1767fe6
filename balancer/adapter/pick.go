package adapter

import (
	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/health"
)

const (
	// maxRepicks is how often the policy is asked for a backend that the request
	// may go to and that is not held back. After that it may be one that is:
	// those that come on top are few (Finagle's panic mode, with its default).
	maxRepicks = 5
	// maxScan bounds the search after that.
	maxScan = 64
)

// A Pick is a request in flight at a backend. It ends with Done. It is a value
// that may be copied, but Answered and Done are for one copy.
//
// With an error it has nine words, which is what a function returns in registers.
type Pick struct {
	backend *Backend
	start   int64
	heard   int64  // when the answer began, if it did and time is kept
	class   uint64 // see Request.Class
	state   pickState
	outcome health.Outcome // of the answer
	marks   pickMarks
}

type pickMarks uint8

const (
	streams pickMarks = 1 << iota // see Request.Stream
	sampled                       // see sample.go
)

func (p *Pick) stream() bool { return p.marks&streams != 0 }

type pickState uint8

const (
	waiting         pickState = iota // for the answer
	probing                          // waiting, at a backend that is ejected and may come back
	answered                         // and not done yet
	responding                       // the answer has begun, and what it means comes with its end
	respondingProbe                  // the same, at a backend that is ejected and may come back
)

func marksOf(stream, sample bool) (m pickMarks) {
	if stream {
		m = streams
	}
	if sample {
		m |= sampled
	}
	return m
}

// Backend returns where the request is to go.
func (p *Pick) Backend() *Backend { return p.backend }

// Plain reports whether the pick says nothing but its backend, as those of
// policies that keep no time do. Then [Backend.Picked] is the same pick, so an
// adapter need not keep it until the request is done.
func (p *Pick) Plain() bool {
	return p.start == 0 && p.state == waiting && p.marks == 0
}

// Picked returns a Plain pick of b. It counts nothing: the request has been
// counted by the Pick whose place it takes.
func (b *Backend) Picked() Pick { return Pick{backend: b} }

// Pick returns a backend for the next request and counts the request as in
// flight there, until it is done. The error is ErrEmpty, ErrNoneFit or ErrBusy.
func (b *Balancer) Pick(r Request) (Pick, error) {
	r.balancer = b
	sample := b.takesSample()
	rotation := b.rotation.Load()
	if rotation.timed || sample {
		r.now = b.hooks.Now()
		if r.Class != 0 && !r.Stream && b.isLong(r.Class, r.now) {
			r.Stream = true
		}
	}
	if b.probe.Load() != nil {
		if p, ok := b.pickProbe(&r); ok {
			b.count(1, r.Stream)
			return p, nil
		}
	}
	for ; ; rotation = b.rotation.Load() {
		be, err := rotation.pick(r)
		if err == nil {
			be.acquire(r.now, r.Stream)
			b.count(1, r.Stream)
			return Pick{backend: be, start: r.now, class: r.Class, marks: marksOf(r.Stream, sample)}, nil
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
	if b.timed {
		p.start = b.hooks.Now()
	}
	be.acquire(p.start, false)
	b.count(1, false)
	return p
}

func (t *rotation) pick(r Request) (*Backend, error) {
	if len(t.levels) == 0 {
		return nil, t.err
	}
	if r.ignore = t.ignore; t.failsOpen() {
		r.balancer.counts.failOpens.Add(1)
	}
	l := &t.levels[0]
	if len(t.levels) > 1 {
		l = t.draw(r.chance())
	}
	for range maxRepicks {
		if be := l.picker.Pick(r); be != nil && r.usable(be, be.flags.Load()) {
			return be, nil
		}
		r.balancer.counts.repicks.Add(1)
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
		return nil, balancer.ErrBusy
	default:
		return nil, balancer.ErrNoneFit
	}
}
