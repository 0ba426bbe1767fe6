package health_test

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/sidestep-lb/sidestep/health"
)

// A log is a Record with a clock that the test sets.
type log struct {
	health.Record
	clock time.Duration
}

func (l *log) now() int64 { return int64(l.clock) }

// observe takes note of n outcomes and returns at which the backend should be
// ejected for the first time, counted from one; 0 is never.
func (l *log) observe(n int, o health.Outcome) int {
	first := 0
	for i := range n {
		if l.Observe(o, l.now) != health.NoCause && first == 0 {
			first = i + 1
		}
	}
	return first
}

func TestFiveFailuresInARowEject(t *testing.T) {
	for _, o := range []health.Outcome{health.Failure, health.Timeout, health.Unreachable} {
		var l log
		if first := l.observe(10, o); first != 5 {
			t.Errorf("%v: ejected at number %d, want 5", o, first)
		}
	}
	var l log
	for range 3 {
		if l.observe(3, health.Failure) != 0 || l.observe(40, health.Success) != 0 {
			t.Fatal("ejected, though never five failures came in a row")
		}
	}
}

func TestNeutralOutcomesAreNotCounted(t *testing.T) {
	var l log
	if l.observe(1000, health.Neutral) != 0 || l.observe(4, health.Failure) != 0 || l.observe(1000, health.Neutral) != 0 {
		t.Error("ejected")
	}
	if l.observe(1, health.Failure) != 1 {
		t.Error("neutral outcomes ended the row of failures")
	}
}

func TestTheShareOfSuccessesCountsFromTenRequests(t *testing.T) {
	var l log
	l.observe(1, health.Failure)
	l.observe(6, health.Success)
	l.observe(2, health.Failure)
	if l.observe(1, health.Failure) != 1 {
		t.Error("six successes of ten do not eject")
	}
	l = log{}
	l.observe(1, health.Failure)
	l.observe(8, health.Success)
	if l.observe(1, health.Failure) != 0 {
		t.Error("eight successes of ten eject")
	}
}

func TestFailuresAreForgottenAfterTenSeconds(t *testing.T) {
	var l log
	for range 100 { // eight in ten seconds, half of them failures
		if l.observe(1, health.Failure)+l.observe(1, health.Success) != 0 {
			t.Fatal("ejected")
		}
		l.clock += 2500 * time.Millisecond
	}
	l.observe(4, health.Failure)
	l.clock += 11 * time.Second
	if l.observe(4, health.Failure) != 0 {
		t.Error("four failures, a pause, and four more eject")
	}
	l.clock -= time.Hour // a clock that goes back does no harm
	l.observe(100, health.Success)
	if l.observe(4, health.Failure) != 0 {
		t.Error("ejected after the clock went back")
	}
}

func TestEjectionsDoubleAndAreForgottenAfterAGoodMinute(t *testing.T) {
	most := func() uint64 { return uint64(time.Hour) - 1 } // a remainder of it, in fact
	within := func(d, whole time.Duration) bool { return d >= whole/2 && d <= whole }
	l := log{clock: time.Hour}
	for i, seconds := range []int{1, 2, 4, 8, 16, 32, 60, 60} {
		whole := time.Duration(seconds) * time.Second
		d := l.Eject(l.now(), most) // each probe fails
		if !within(d, whole) {
			t.Errorf("ejection %d: %v, want between half of %v and all of it", i+1, d, whole)
		}
		l.clock += d
	}
	l.clock += time.Hour // nobody came to probe it
	if d := l.Eject(l.now(), most); !within(d, time.Minute) {
		t.Errorf("after an hour without a probe: %v, want up to a minute", d)
	}
	l.Readmit(l.now())
	l.clock += 59 * time.Second
	if d := l.Eject(l.now(), most); !within(d, time.Minute) {
		t.Errorf("59 s after it came back: %v, want up to a minute", d)
	}
	l.Readmit(l.now())
	l.clock += 61 * time.Second
	if d := l.Eject(l.now(), most); !within(d, time.Second) {
		t.Errorf("61 s after it came back: %v, want up to a second", d)
	}
}

func TestAnEjectionStartsAClearRecord(t *testing.T) {
	for name, reset := range map[string]func(*log){
		"Eject":   func(l *log) { l.Eject(l.now(), rand.Uint64) },
		"Readmit": func(l *log) { l.Readmit(l.now()) },
	} {
		var l log
		l.observe(4, health.Failure)
		reset(&l)
		if l.observe(4, health.Failure) != 0 {
			t.Errorf("after %s, failures from before count", name)
		}
	}
}

func TestManyMayObserveAtOnce(t *testing.T) {
	var l log
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 1000 {
				l.Observe(health.Outcome(i%5), l.now)
			}
		})
	}
	all.Wait()
}

func TestOnlyOutcomesOfTheServerAreHeldAgainstIt(t *testing.T) {
	names := map[health.Outcome]string{
		health.Neutral: "neutral", health.Success: "success", health.Failure: "failure", health.Timeout: "timeout", health.Unreachable: "unreachable",
	}
	for o, name := range names {
		if want := o != health.Neutral && o != health.Success; o.Failed() != want || o.String() != name {
			t.Errorf("%d: failed %t, called %q", o, o.Failed(), o)
		}
	}
}
