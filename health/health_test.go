package health_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sidestep-lb/sidestep/health"
)

func TestABackendIsOutFromAFailedConnectionUntilItAnswers(t *testing.T) {
	var r health.Reachability
	for i, step := range []struct {
		outcome     health.Outcome
		ok, changed bool
	}{
		{health.Success, true, false},
		{health.Neutral, true, false},
		{health.Unreachable, false, true},
		{health.Unreachable, false, false},
		{health.Neutral, false, false},
		{health.Success, true, true},
		{health.Success, true, false},
	} {
		if changed := r.Observe(step.outcome); changed != step.changed || r.OK() != step.ok {
			t.Errorf("step %d, %v: changed %t, ok %t; want %t, %t", i, step.outcome, changed, r.OK(), step.changed, step.ok)
		}
	}
}

func TestRetryDelaysDoubleToTheirLimitWithJitter(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2)).Uint64
	for attempt, whole := range map[int]time.Duration{
		-1: 250 * time.Millisecond, 0: 250 * time.Millisecond, 1: 500 * time.Millisecond, 5: 8 * time.Second,
		6: 15 * time.Second, 7: 15 * time.Second, 1 << 40: 15 * time.Second,
	} {
		seen := map[time.Duration]bool{}
		for range 100 {
			d := health.RetryDelay(attempt, random)
			if d < whole/2 || d > whole {
				t.Fatalf("attempt %d: %v, want between %v and %v", attempt, d, whole/2, whole)
			}
			seen[d] = true
		}
		if len(seen) < 50 {
			t.Errorf("attempt %d: only %d different delays in 100", attempt, len(seen))
		}
	}
}

func ExampleReachability() {
	var r health.Reachability
	fmt.Println(r.OK(), r.Observe(health.Unreachable), r.OK())
	fmt.Println(r.Observe(health.Success), r.OK())
	// Output:
	// true true false
	// true true
}
