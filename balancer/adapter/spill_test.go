package adapter_test

import (
	"testing"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/adapter"
	"github.com/sidestep-lb/sidestep/health"
)

// toLevel returns which part of the requests went to backends of that priority.
func toLevel(got map[*adapter.Backend]int, priority uint8) float64 {
	n := 0
	for be, k := range got {
		if be.Endpoint().Priority == priority {
			n += k
		}
	}
	return float64(n) / float64(max(sum(got), 1))
}

// byLevel is traffic that each level serves in its own way.
func byLevel(serve func(priority uint8, turn int) (time.Duration, health.Outcome)) traffic {
	turn := 0
	return traffic{every: 5 * time.Millisecond, serve: func(be *adapter.Backend) (time.Duration, health.Outcome) {
		turn++
		return serve(be.Endpoint().Priority, turn)
	}}
}

func TestALevelThatIsSlowSpillsOverUnderEachPolicyAndItsLoadComesBack(t *testing.T) {
	calm := byLevel(func(uint8, int) (time.Duration, health.Outcome) { return 10 * time.Millisecond, health.Success })
	slow := byLevel(func(priority uint8, _ int) (time.Duration, health.Outcome) {
		if priority == 0 {
			return 200 * time.Millisecond, health.Success
		}
		return 10 * time.Millisecond, health.Success
	})
	for _, policy := range []string{balancer.Adaptive, balancer.LeastRequest, balancer.Random, balancer.RoundRobin, balancer.Weighted} {
		onStageOf(t, balancer.Config{Policy: policy}, inLevels(3, 2), func(t *testing.T, s *stage) {
			if got := toLevel(s.play(t, 10*time.Second, calm)[0], 1); got > 0.05 {
				t.Errorf("%s: level 1 gets %.2f of the requests while level 0 is as fast", policy, got)
			}
			s.play(t, 10*time.Second, slow)
			if got := toLevel(s.play(t, 10*time.Second, slow)[0], 1); got < 0.5 {
				t.Errorf("%s: level 1 gets %.2f of the requests while level 0 takes 20 times as long", policy, got)
			}
			s.play(t, 20*time.Second, calm)
			if got := toLevel(s.play(t, 10*time.Second, calm)[0], 1); got > 0.05 {
				t.Errorf("%s: level 1 still gets %.2f of the requests when level 0 is fast again", policy, got)
			}
		})
	}
}

// Those that ran out of time had no answer, but they tell that the level is slow.
func TestRequestsThatRunOutOfTimeMakeALevelSpillOver(t *testing.T) {
	half := byLevel(func(priority uint8, turn int) (time.Duration, health.Outcome) {
		if priority == 0 && turn%2 == 0 {
			return 500 * time.Millisecond, health.Timeout
		}
		return 10 * time.Millisecond, health.Success
	})
	for _, policy := range []string{balancer.Adaptive, balancer.LeastRequest, balancer.RoundRobin} {
		config := balancer.Config{Policy: policy, MaxEjectedPercent: -1}
		onStageOf(t, config, inLevels(3, 2), func(t *testing.T, s *stage) {
			s.play(t, 10*time.Second, half)
			if got := toLevel(s.play(t, 10*time.Second, half)[0], 1); got < 0.5 {
				t.Errorf("%s: level 1 gets %.2f of the requests while half of those at level 0 run out of time", policy, got)
			}
		})
	}
}

// Failures that come at once are no sign that a level is slow.
func TestFailuresThatComeAtOnceMakeNoLevelSpillOver(t *testing.T) {
	some := byLevel(func(priority uint8, turn int) (time.Duration, health.Outcome) {
		if turn%20 == 0 {
			return time.Millisecond, health.Failure
		}
		return 10 * time.Millisecond, health.Success
	})
	onStageOf(t, anyTurn, inLevels(3, 2), func(t *testing.T, s *stage) {
		if got := toLevel(s.play(t, 20*time.Second, some)[0], 1); got > 0.05 {
			t.Errorf("level 1 gets %.2f of the requests", got)
		}
	})
}
