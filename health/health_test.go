package health_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sidestep-lb/sidestep/health"
)

func TestRetryDelaysDoubleToTheirLimitWithJitter(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2)).Uint64
	for attempt, whole := range map[int]time.Duration{
		-1: 250 * time.Millisecond, 0: 250 * time.Millisecond, 1: 500 * time.Millisecond, 5: 8 * time.Second,
		6: 15 * time.Second, 7: 15 * time.Second, math.MaxInt: 15 * time.Second,
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

func TestSlowStartRises(t *testing.T) {
	for age, want := range map[time.Duration]float64{0: 0.1, time.Second: 0.1, 15 * time.Second: 0.5, 30 * time.Second: 1, time.Hour: 1, -time.Hour: 0.1} {
		if got := health.SlowStart(age, 30*time.Second); got != want {
			t.Errorf("after %v of 30s: %v, want %v", age, got, want)
		}
	}
}

func TestTheBudgetIsAFifthOfTheRequestsAndTenASecond(t *testing.T) {
	var now time.Duration
	b := health.NewBudget(0)
	spend := func() (n int) {
		for b.Withdraw(int64(now)) {
			n++
		}
		return n
	}
	if n := spend(); n != 10 {
		t.Errorf("%d retries at the start, want 10", n)
	}
	for range 100 {
		b.Deposit()
	}
	if n := spend(); n != 20 {
		t.Errorf("%d retries for 100 requests, want 20", n)
	}
	now += time.Second
	if n := spend(); n != 10 {
		t.Errorf("%d retries after a second, want 10", n)
	}
	now += time.Hour
	if n := spend(); n != 100 {
		t.Errorf("%d retries after an hour, want no more than 100", n)
	}
	for range 1_000_000 {
		b.Deposit()
	}
	if n := spend(); n != 1000 {
		t.Errorf("%d retries after a million requests, want no more than 1000", n)
	}
}

func ExampleRecord() {
	var r health.Record
	var clock time.Duration
	now := func() int64 { return int64(clock) }

	for i := range 5 {
		fmt.Println("failure", i+1, "cause to eject it:", r.Observe(health.Failure, now))
	}
	most := func() uint64 { return 0 } // of chance: none
	fmt.Println("for", r.Eject(now(), most))
	// Output:
	// failure 1 cause to eject it: none
	// failure 2 cause to eject it: none
	// failure 3 cause to eject it: none
	// failure 4 cause to eject it: none
	// failure 5 cause to eject it: consecutive_failures
	// for 500ms
}
