package adapter_test

import (
	"testing"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/adapter"
	"github.com/sidestep-lb/sidestep/health"
)

// A queue is a backend that does its work one after another.
type queue struct {
	takes time.Duration
	free  time.Time // when it is done with what it has
}

// serve returns how long the next request takes.
func (q *queue) serve(patience time.Duration) (time.Duration, health.Outcome) {
	now := time.Now()
	if q.free.Before(now) {
		q.free = now
	}
	q.free = q.free.Add(q.takes)
	if latency := q.free.Sub(now); latency <= patience {
		return latency, health.Success
	}
	q.free = q.free.Add(-q.takes) // it is taken out of the queue
	return patience, health.Timeout
}

// queues is traffic at backends that can do so many requests a second each, with a
// deadline of half a second.
func queues(s *stage, every time.Duration, each int) (traffic, map[*adapter.Backend]*queue) {
	all := map[*adapter.Backend]*queue{}
	for _, be := range s.Backends() {
		all[be] = &queue{takes: time.Second / time.Duration(each)}
	}
	return traffic{every: every, serve: func(be *adapter.Backend) (time.Duration, health.Outcome) {
		return all[be].serve(500 * time.Millisecond)
	}}, all
}

// Where two of three cannot carry the load, the third is worth having, though it can
// do less than its share and the rest of its requests run out of time.
func TestOneThatRunsOutOfTimeIsUsedWhereTheOthersAreOverloaded(t *testing.T) {
	for _, policy := range []string{balancer.RoundRobin, balancer.LeastRequest, balancer.Adaptive} {
		onStage(t, balancer.Config{Policy: policy}, 3, func(t *testing.T, s *stage) {
			load, queues := queues(s, 5*time.Millisecond, 85) // 200 requests a second for 255
			s.play(t, 5*time.Second, load)
			weak := s.Backends()[0]
			queues[weak].takes = time.Second / 40
			s.play(t, 10*time.Second, load)
			outs, looks := 0, 0
			s.watch = func() {
				if looks++; !weak.Fit() {
					outs++
				}
			}
			got := s.play(t, 30*time.Second, load)[0]
			if share := ofFair(got, weak, 3); share < 0.3 || outs > looks/2 {
				t.Errorf("%s: it has %.2f of its fair share, and is out %d %% of the time", policy, share, 100*outs/looks)
			}
		})
	}
}

// One that fails everything at once takes no load from the others.
func TestOneThatFailsEverythingStaysOutThoughTheOthersAreOverloaded(t *testing.T) {
	for _, policy := range []string{balancer.RoundRobin, balancer.LeastRequest, balancer.Adaptive} {
		onStage(t, balancer.Config{Policy: policy}, 3, func(t *testing.T, s *stage) {
			load, _ := queues(s, 5*time.Millisecond, 85)
			s.play(t, 5*time.Second, load)
			bad, ok := s.Backends()[0], load.serve
			load.serve = func(be *adapter.Backend) (time.Duration, health.Outcome) {
				if be == bad {
					return time.Millisecond, health.Failure
				}
				return ok(be)
			}
			s.play(t, time.Second, load)
			if n := s.play(t, 20*time.Second, load)[0][bad]; n > 10 { // probes
				t.Errorf("%s: it got %d of 4000 requests", policy, n)
			}
			if bad.Fit() {
				t.Errorf("%s: it is in rotation", policy)
			}
		})
	}
}

func TestOneThatAloneFailsIsAvoidedFromItsFirstFailure(t *testing.T) {
	onStage(t, balancer.Config{}, 5, func(t *testing.T, s *stage) {
		load := fast(10 * time.Millisecond)
		s.play(t, 2*time.Second, load)
		bad, failures, ok := s.Backends()[0], 0, load.serve
		load.serve = func(be *adapter.Backend) (time.Duration, health.Outcome) {
			if be == bad {
				failures++
				return 5 * time.Millisecond, health.Failure
			}
			return ok(be)
		}
		s.play(t, time.Second, load)
		if failures < 1 || failures > 2 {
			t.Errorf("in a second it failed %d requests, want 1 and then none", failures)
		}
		if !bad.Fit() {
			t.Error("it is ejected for that")
		}
	})
}
