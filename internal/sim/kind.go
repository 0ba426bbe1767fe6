package main

import (
	"math/rand/v2"
	"time"
)

// A kind is one of the kinds of requests in a set-up that has several. The zero
// value is an ordinary request.
type kind struct {
	name     string
	share    float64       // of the requests
	demand   demand        // without one, that of the set-up
	deadline time.Duration // 0 for that of the set-up; noDeadline for none
	class    uint64        // what clients can tell apart: the method, or the route
	waits    bool          // it takes its demand without holding a worker: a long poll, a silent subscription
	limited  time.Duration // its caller has sent too many: refused at once, with this Retry-After; 0 for served
}

// noDeadline is the deadline of a kind that has none.
const noDeadline = time.Duration(-1)

// drawKind returns the kind of the next request.
func (w *world) drawKind() int {
	if len(w.setup.kinds) < 2 {
		return 0
	}
	x := w.kinds.Float64()
	for i := range w.setup.kinds {
		if x -= w.setup.kinds[i].share; x < 0 {
			return i
		}
	}
	return len(w.setup.kinds) - 1
}

// newRequest makes a request of a kind that arrives now at a client.
func (w *world) newRequest(c *client, number int) *request {
	r := &request{client: c, sample: w.record.arrived(w.now, number), arrived: w.now}
	d := w.setup.demand
	if number < len(w.setup.kinds) {
		r.kind = &w.setup.kinds[number]
		if r.kind.demand.draw != nil {
			d = r.kind.demand
		}
	}
	r.demand = time.Duration(d.draw(w.demands) * float64(d.mean))
	return r
}

// deadline returns how long the caller waits; 0 for as long as it takes.
func (r *request) deadline() time.Duration {
	switch {
	case r.kind == nil || r.kind.deadline == 0:
		return r.client.world.setup.deadline
	default:
		return max(r.kind.deadline, 0)
	}
}

// class is what clients can tell of the kind.
func (r *request) class() uint64 {
	if r.kind == nil {
		return 0
	}
	return r.kind.class
}

// waits reports whether the request holds no worker.
func (r *request) waits() bool { return r.kind != nil && r.kind.waits }

// uniform is a demand between two times.
func uniform(from, to time.Duration) demand {
	mean := (from + to) / 2
	return demand{mean, func(r *rand.Rand) float64 {
		return (float64(from) + r.Float64()*float64(to-from)) / float64(mean)
	}}
}

// fixed is a demand that is always the same.
func fixed(d time.Duration) demand {
	return demand{d, func(*rand.Rand) float64 { return 1 }}
}
