package main

import (
	"math"
	"math/rand/v2"
	"time"
)

// failTime is how long a failing server takes to say so.
const failTime = time.Millisecond

// A server has workers and a queue, first in, first out. It works off what it
// has accepted even if the caller has left by then, as servers do.
type server struct {
	id      int
	zone    int
	engine  *engine
	chance  *rand.Rand // for faults
	workers int
	limit   int           // of the queue; 0 for none
	spare   time.Duration // the Retry-After of who is refused because the queue is full; 0 for none

	slow    func(now time.Duration) float64 // multiplies service times; nil for 1
	starved bool                            // slow because others get the CPU: the server does not look busier for it
	failing float64                         // the part of the requests that fails
	late    bool                            // it fails them after their work, instead of in failTime
	hung    bool                            // nothing that arrives is ever answered
	crashes int64                           // when its process ends; 0 for never

	busy        int
	queue       fifo
	outstanding int           // accepted and not yet answered or given up
	pausedUntil int64         // a pause of the whole process, such as for garbage collection
	paused      time.Duration // all pauses so far, the present one whole

	worked   time.Duration // CPU time of all requests so far
	answered int
	failed   int
	reported int64 // when report was last made, from what is below
	before   struct {
		worked           time.Duration
		answered, failed int
	}
	report loadReport
}

func (s *server) accept(a *attempt) {
	s.outstanding++
	if s.crashes > 0 {
		s.engine.at(s.crashes, a.breakOff)
	}
	switch r := a.request; {
	case s.hung:
	case r.kind != nil && r.kind.limited > 0:
		s.refuse(a, limited, r.kind.limited)
	case r.waits():
		s.engine.after(r.demand, func() { s.answer(a, success) })
	case s.busy < s.workers:
		s.start(a)
	case s.limit > 0 && s.queue.len() >= s.limit:
		s.refuse(a, failure, s.spare)
	default:
		s.queue.push(a)
	}
}

// refuse answers without having done anything.
func (s *server) refuse(a *attempt, o outcome, spare time.Duration) {
	a.spare = spare
	s.engine.after(failTime, func() { s.answer(a, o) })
}

func (s *server) start(a *attempt) {
	s.busy++
	outcome, d := success, time.Duration(float64(a.request.demand)*s.slowness())
	if s.failing > 0 && s.chance.Float64() < s.failing {
		outcome = failure
		if !s.late {
			d = failTime
		}
	}
	if s.starved {
		s.worked += a.request.demand
	} else {
		s.worked += d
	}
	s.finish(a, outcome, s.engine.now+int64(d)+max(0, s.pausedUntil-s.engine.now), s.paused)
}

// finish answers at the given moment, and later if there are pauses beyond
// those already reckoned with.
func (s *server) finish(a *attempt, o outcome, at int64, paused time.Duration) {
	s.engine.at(at, func() {
		if s.paused > paused {
			s.finish(a, o, at+int64(s.paused-paused), s.paused)
			return
		}
		s.busy--
		if s.queue.len() > 0 {
			s.start(s.queue.pop())
		}
		s.answer(a, o)
	})
}

func (s *server) answer(a *attempt, o outcome) {
	s.answered++
	if o == failure {
		s.failed++
	}
	s.measure()
	if !a.over {
		s.outstanding--
		a.end(o)
	}
}

// A loadReport is what a server says of its last second with each answer (ORCA).
type loadReport struct {
	utilization float64 // the CPU time of its workers, of all that they have
	qps, eps    float64
}

func (s *server) measure() {
	elapsed := time.Duration(s.engine.now - s.reported).Seconds()
	if elapsed < 1 {
		return
	}
	s.report = loadReport{
		utilization: (s.worked - s.before.worked).Seconds() / elapsed / float64(s.workers),
		qps:         float64(s.answered-s.before.answered) / elapsed,
		eps:         float64(s.failed-s.before.failed) / elapsed,
	}
	s.reported = s.engine.now
	s.before.worked, s.before.answered, s.before.failed = s.worked, s.answered, s.failed
}

// pause stops the server for d, with all that it is working on.
func (s *server) pause(d time.Duration) {
	s.paused += d
	s.pausedUntil = s.engine.now + int64(d)
}

func (s *server) slowness() float64 {
	if s.slow == nil {
		return 1
	}
	return s.slow(time.Duration(s.engine.now))
}

// expected is when a request that arrives now would be answered, in units of
// the mean demand; for the oracle.
func (s *server) expected(mean time.Duration) float64 {
	if s.hung || s.failing > 0 {
		return math.Inf(1)
	}
	ahead := float64(max(0, s.outstanding+1-s.workers)) / float64(s.workers)
	return (ahead+1)*s.slowness() + float64(max(0, s.pausedUntil-s.engine.now))/float64(mean)
}

// A fifo is a queue of attempts.
type fifo struct {
	items []*attempt
	first int
}

func (q *fifo) len() int { return len(q.items) - q.first }

func (q *fifo) push(a *attempt) { q.items = append(q.items, a) }

func (q *fifo) pop() *attempt {
	a := q.items[q.first]
	q.items[q.first] = nil
	q.first++
	if q.first > 64 && q.first > len(q.items)/2 {
		q.items = q.items[:copy(q.items, q.items[q.first:])]
		q.first = 0
	}
	return a
}
