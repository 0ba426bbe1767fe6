package health_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/sidestep-lb/sidestep/health"
)

func TestAHedgeWaitsForAsLongAsAllButAFewTake(t *testing.T) {
	for percentile, want := range map[float64]time.Duration{50: 50 * time.Millisecond, 95: 95 * time.Millisecond, 99: 99 * time.Millisecond} {
		timer := health.NewHedgeTimer(percentile)
		for ms := range 100 {
			timer.Observe(time.Duration(ms+1) * time.Millisecond)
		}
		if d, ok := timer.Delay(0); !ok || d < want || d > want*9/8 {
			t.Errorf("percentile %v of 1 to 100 ms: %v, %t; want %v or an eighth more", percentile, d, ok, want)
		}
	}
}

func TestThereIsNoHedgeBeforeAHundredRequests(t *testing.T) {
	timer := health.NewHedgeTimer(95)
	for range 99 {
		timer.Observe(time.Second)
	}
	if d, ok := timer.Delay(0); ok {
		t.Errorf("after 99 requests: %v", d)
	}
	timer.Observe(time.Second)
	if d, ok := timer.Delay(int64(500 * time.Millisecond)); ok {
		t.Errorf("found anew within a second: %v", d)
	}
	if _, ok := timer.Delay(int64(time.Second)); !ok {
		t.Error("after 100 requests and a second there is none")
	}
}

func TestAHedgeForgetsWhatIsTwentySecondsOld(t *testing.T) {
	timer := health.NewHedgeTimer(90)
	observe := func(n int, d time.Duration) {
		for range n {
			timer.Observe(d)
		}
	}
	observe(1000, time.Second)
	for s := range 31 {
		d, ok := timer.Delay(int64(time.Duration(s) * time.Second))
		switch {
		case s < 10 && (!ok || d < time.Second):
			t.Errorf("after %d s: %v, %t; want the latency of then", s, d, ok)
		case s > 20 && (!ok || d > 20*time.Millisecond):
			t.Errorf("after %d s: %v, %t; want that of now", s, d, ok)
		}
		observe(30, 10*time.Millisecond)
	}
	if d, ok := timer.Delay(int64(time.Hour)); !ok || d > 20*time.Millisecond {
		t.Errorf("after an hour: %v, %t", d, ok) // it is what was found when somebody asked last
	}
	if d, ok := timer.Delay(int64(time.Hour + 2*time.Second)); ok {
		t.Errorf("an hour later what was observed then still counts: %v", d)
	}
}

func TestHedgeDelaysHaveBounds(t *testing.T) {
	for d, want := range map[time.Duration]time.Duration{
		-time.Second: time.Millisecond, 0: time.Millisecond, time.Microsecond: time.Millisecond, time.Hour: 68719476736,
	} {
		timer := health.NewHedgeTimer(99)
		for range 1000 {
			timer.Observe(d)
		}
		if got, _ := timer.Delay(0); got != want {
			t.Errorf("all take %v: %v, want %v", d, got, want)
		}
	}
}

func TestManyMayUseAHedgeTimerAtOnce(t *testing.T) {
	timer := health.NewHedgeTimer(95)
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			for i := range 5000 {
				timer.Observe(time.Duration(i%100) * time.Millisecond)
				if d, ok := timer.Delay(int64(time.Duration(i) * 10 * time.Millisecond)); ok && (d < time.Millisecond || d > 120*time.Millisecond) {
					t.Errorf("goroutine %d: %v", g, d)
				}
			}
		})
	}
	all.Wait()
}

func ExampleHedgeTimer() {
	timer := health.NewHedgeTimer(95)
	for ms := range 200 {
		timer.Observe(time.Duration(ms) * time.Millisecond)
	}
	delay, ok := timer.Delay(0)
	fmt.Println(delay.Round(10*time.Millisecond), ok)
	// Output: 200ms true
}
