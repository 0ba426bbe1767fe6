package adapter_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/adapter"
	"github.com/sidestep-lb/sidestep/health"
)

// polls are requests that are held open for long, of a class of their own.
func polls(every, latency time.Duration) traffic {
	return traffic{
		every:   every,
		request: adapter.Request{Class: adapter.ClassOf("poll")},
		serve:   func(*adapter.Backend) (time.Duration, health.Outcome) { return latency, health.Success },
	}
}

func ofClass(class uint64, t traffic) traffic {
	t.request.Class = class
	return t
}

// wantEven fails the test unless each backend has about the same share.
func wantEven(t *testing.T, b *adapter.Balancer, got map[*adapter.Backend]int, when string) {
	t.Helper()
	for _, be := range b.Backends() {
		if share := ofFair(got, be, len(b.Backends())); share < 0.8 || share > 1.25 {
			t.Errorf("%s: %v has %.2f of its fair share of %d requests", when, be.Endpoint(), share, sum(got))
		}
	}
}

func TestLongPollsDoNotMakeTheirBackendLookSlowForOthers(t *testing.T) {
	calls := adapter.ClassOf("call")
	for _, test := range []struct {
		polls          string
		calls          time.Duration // between two of them
		every, latency time.Duration
	}{
		{"one of 6 s, every 2.6 s", time.Millisecond / 2, 2600 * time.Millisecond, 6 * time.Second},
	} {
		onStage(t, balancer.Config{}, 4, func(t *testing.T, s *stage) {
			call, poll := ofClass(calls, fast(test.calls)), polls(test.every, test.latency)
			s.play(t, 2*time.Second, call)
			for range 4 {
				wantEven(t, s.Balancer, s.play(t, 4*time.Second, call, poll)[0], "while polls run, "+test.polls)
			}
			for range 3 {
				wantEven(t, s.Balancer, s.play(t, 4*time.Second, call)[0], "while polls end, "+test.polls)
			}
		})
	}
}

func TestASlowClassAtOneBackendOnlyDoesNotMakeItLookSlow(t *testing.T) {
	onStage(t, balancer.Config{}, 3, func(t *testing.T, s *stage) {
		slow := s.Backends()[0]
		call := ofClass(adapter.ClassOf("call"), fast(5*time.Millisecond))
		report := traffic{ // a slow class, of which chance sends more to one backend
			every:   50 * time.Millisecond,
			request: adapter.Request{Class: adapter.ClassOf("report"), Tried: s.Backends()[1:]},
			serve: func(*adapter.Backend) (time.Duration, health.Outcome) {
				return 60 * time.Millisecond, health.Success
			},
		}
		s.play(t, 5*time.Second, call, report)
		got := s.play(t, 15*time.Second, call, report)[0]
		if share := ofFair(got, slow, 3); share < 0.5 {
			t.Errorf("the one with the slow requests has %.2f of its fair share of the others", share)
		}
	})
}

func TestABackendThatIsSlowForItsClassIsAvoided(t *testing.T) {
	for _, class := range []uint64{0, adapter.ClassOf("call")} {
		onStage(t, balancer.Config{}, 4, func(t *testing.T, s *stage) {
			slow, random := s.Backends()[0], rand.New(rand.NewPCG(4, 4))
			call := traffic{every: 5 * time.Millisecond, request: adapter.Request{Class: class}}
			call.serve = func(be *adapter.Backend) (time.Duration, health.Outcome) {
				if be == slow {
					return around(random, 100*time.Millisecond), health.Success
				}
				return around(random, 10*time.Millisecond), health.Success
			}
			s.play(t, 2*time.Second, call)
			if share := ofFair(s.play(t, 10*time.Second, call)[0], slow, 4); share > 0.3 {
				t.Errorf("class %d: one that takes ten times as long has %.2f of its fair share", class, share)
			}
		})
	}
}

func TestManyMoreClassesThanThereArePlacesDoNoHarm(t *testing.T) {
	onStage(t, balancer.Config{}, 4, func(t *testing.T, s *stage) {
		var kinds []traffic
		for i := range 200 {
			kinds = append(kinds, ofClass(adapter.ClassOf(fmt.Sprint("method-", i)), fast(time.Second+time.Duration(i)*time.Millisecond)))
		}
		s.play(t, 5*time.Second, kinds...)
		all := map[*adapter.Backend]int{}
		for _, got := range s.play(t, 15*time.Second, kinds...) {
			for be, n := range got {
				all[be] += n
			}
		}
		wantEven(t, s.Balancer, all, "with 200 classes")
	})
}

func TestClassesHaveNumbersOfTheirOwnAndNoneIsZero(t *testing.T) {
	seen := map[uint64]string{}
	for i := range 10_000 {
		name := fmt.Sprint("method-", i)
		class := adapter.ClassOf(name)
		if other, taken := seen[class]; taken || class == 0 {
			t.Fatalf("%q has class %d, like %q", name, class, other)
		}
		seen[class] = name
	}
	if adapter.ClassOf("") == 0 {
		t.Error("an empty name has class 0, which is not known")
	}
}

// A caller that has less patience than its method takes fails everywhere.
func TestACallerWithoutPatienceEjectsNobodyAndMakesNobodyLookSlow(t *testing.T) {
	for _, policy := range []string{balancer.Adaptive, balancer.RoundRobin, balancer.LeastRequest} {
		onStage(t, balancer.Config{Policy: policy}, 3, func(t *testing.T, s *stage) {
			random := rand.New(rand.NewPCG(5, 5))
			slow := adapter.ClassOf("slow")
			patient := traffic{every: 100 * time.Millisecond, request: adapter.Request{Class: slow}, serve: func(*adapter.Backend) (time.Duration, health.Outcome) {
				return around(random, 60*time.Millisecond), health.Success
			}}
			impatient := traffic{every: 50 * time.Millisecond, request: adapter.Request{Class: slow}, serve: func(*adapter.Backend) (time.Duration, health.Outcome) {
				return 20 * time.Millisecond, health.Timeout
			}}
			call := ofClass(adapter.ClassOf("call"), fast(10*time.Millisecond))
			s.play(t, 2*time.Second, call, patient)
			ejections := 0
			s.watch = func() { ejections = max(ejections, unfit(s.Balancer)) }
			wantEven(t, s.Balancer, s.play(t, 30*time.Second, call, patient, impatient)[0], policy+": with callers without patience")
			if ejections > 0 {
				t.Errorf("%s: up to %d were ejected at once", policy, ejections)
			}
		})
	}
}
