package adapter_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/adapter"
	"github.com/sidestep-lb/sidestep/health"
)

// byTurn are policies that heed neither latencies nor requests in flight. To them, a
// newcomer is a backend like all others, so the ramp alone holds it back.
var (
	byTurn       = []string{balancer.Random, balancer.RoundRobin, balancer.Weighted}
	byTurnOrLoad = append([]string{balancer.LeastRequest}, byTurn...)
)

// hold makes n requests and returns those to be, which wait for their answers. Others
// are answered at once.
func hold(t *testing.T, b *adapter.Balancer, be *adapter.Backend, n int) (held []*request) {
	t.Helper()
	for range n {
		if r := pick(t, b); r.Backend == be {
			held = append(held, r)
		} else {
			r.Done(health.Success)
		}
	}
	return held
}

// onRamp runs a test for each policy of byTurn, with a newcomer beside four that
// have answered.
func onRamp(t *testing.T, f func(t *testing.T, s *stage, newcomer *adapter.Backend)) {
	for _, policy := range byTurn {
		t.Run(policy, func(t *testing.T) {
			onStage(t, balancer.Config{Policy: policy}, 4, func(t *testing.T, s *stage) {
				s.Update(endpoints(0, 5))
				f(t, s, whose(t, s.Balancer, 4))
			})
		})
	}
}

// wantAtOnce fails the test unless be takes that many of 40 requests at once. When a
// newcomer that is full was drawn time and again, one more may go to it.
func wantAtOnce(t *testing.T, s *stage, be *adapter.Backend, want int, when string) []*request {
	t.Helper()
	held := hold(t, s.Balancer, be, 40)
	if n := int(be.InFlight()); n < want || n > want+1 {
		t.Errorf("%s it has %d requests at once, want %d", when, n, want)
	}
	return held
}

func TestANewcomerGetsOneRequestAndTwiceAsManyAfterEachRoundOfAnswers(t *testing.T) {
	onRamp(t, func(t *testing.T, s *stage, newcomer *adapter.Backend) {
		held := wantAtOnce(t, s, newcomer, 1, "at first")
		if got := state(s.Balancer, newcomer); got != balancer.StateJoining {
			t.Errorf("it is said to be %q", got)
		}
		held[0].Done(health.Success)
		held = append(held[1:], wantAtOnce(t, s, newcomer, 2, "after one answer")...)
		held[0].Done(health.Success)
		held = append(held[1:], wantAtOnce(t, s, newcomer, 2, "in the middle of the second round")...)
		held[0].Done(health.Success)
		synctest.Wait()
		if got := state(s.Balancer, newcomer); got != balancer.StateFit {
			t.Errorf("after three answers it is said to be %q", got)
		}
		held = append(held[1:], hold(t, s.Balancer, newcomer, 400)...)
		if n := newcomer.InFlight(); n < 60 {
			t.Errorf("after three answers it has %d requests at once", n)
		}
		for _, r := range held {
			r.Done(health.Success)
		}
	})
}

func TestANewcomerAsFastAsTheOthersHasItsShareWithinASecond(t *testing.T) {
	for _, policy := range balancer.Policies() {
		onStage(t, balancer.Config{Policy: policy}, 4, func(t *testing.T, s *stage) {
			s.play(t, 2*time.Second, fast(4*time.Millisecond)) // 50 a second to each of five
			s.Update(endpoints(0, 5))
			newcomer := whose(t, s.Balancer, 4)
			if got := ofFair(s.play(t, time.Second, fast(4*time.Millisecond))[0], newcomer, 5); got < 0.7 || got > 1.5 {
				t.Errorf("%s: in its first second it has %.2f of its share", policy, got)
			}
			if got := state(s.Balancer, newcomer); got != balancer.StateFit {
				t.Errorf("%s: after a second it is said to be %q", policy, got)
			}
			if got := ofFair(s.play(t, 4*time.Second, fast(4*time.Millisecond))[0], newcomer, 5); got < 0.8 || got > 1.25 {
				t.Errorf("%s: later it has %.2f of its share", policy, got)
			}
		})
	}
}

// cold is traffic that one backend answers slowly, and the others in 10 ms.
func cold(slow *adapter.Backend, latency *time.Duration) traffic {
	random := rand.New(rand.NewPCG(3, 3))
	return traffic{every: 2500 * time.Microsecond, serve: func(be *adapter.Backend) (time.Duration, health.Outcome) {
		if be == slow {
			return *latency, health.Success
		}
		return around(random, 10*time.Millisecond), health.Success
	}}
}

func TestASlowNewcomerStaysAtWhatItCanDoAndHasItsShareOnceItIsFast(t *testing.T) {
	for _, policy := range byTurnOrLoad {
		onStage(t, balancer.Config{Policy: policy}, 4, func(t *testing.T, s *stage) {
			s.play(t, time.Second, fast(2500*time.Microsecond))
			s.Update(endpoints(0, 5))
			newcomer, latency, most := whose(t, s.Balancer, 4), 200*time.Millisecond, int64(0)
			s.watch = func() { most = max(most, newcomer.InFlight()) }
			if n := s.play(t, 5*time.Second, cold(newcomer, &latency))[0][newcomer]; n < 20 || n > 40 {
				t.Errorf("%s: in 5 s at 200 ms each it got %d requests, want about 25", policy, n)
			}
			if most > 2 { // one, and one that may come when it was drawn time and again
				t.Errorf("%s: it had %d requests at once", policy, most)
			}
			latency = 10 * time.Millisecond
			s.play(t, time.Second, cold(newcomer, &latency))
			if got := ofFair(s.play(t, 2*time.Second, cold(newcomer, &latency))[0], newcomer, 5); got < 0.85 || got > 1.15 {
				t.Errorf("%s: when it has been fast for a second it has %.2f of its share", policy, got)
			}
		})
	}
}

func TestASlowNewcomerHasItsShareAfterHalfAMinute(t *testing.T) {
	for _, policy := range byTurnOrLoad {
		onStage(t, balancer.Config{Policy: policy}, 4, func(t *testing.T, s *stage) {
			s.play(t, time.Second, fast(2500*time.Microsecond))
			s.Update(endpoints(0, 5))
			newcomer, latency := whose(t, s.Balancer, 4), 100*time.Millisecond
			s.play(t, 29*time.Second, cold(newcomer, &latency))
			if got := state(s.Balancer, newcomer); got != balancer.StateJoining {
				t.Errorf("%s: after 29 s it is said to be %q", policy, got)
			}
			s.play(t, 2*time.Second, cold(newcomer, &latency))
			if got := state(s.Balancer, newcomer); got != balancer.StateFit {
				t.Errorf("%s: after 31 s it is said to be %q", policy, got)
			}
			if policy == balancer.LeastRequest {
				return // it gives less to one that has more in flight, newcomer or not
			}
			if got := ofFair(s.play(t, 2*time.Second, cold(newcomer, &latency))[0], newcomer, 5); got < 0.85 || got > 1.15 {
				t.Errorf("%s: after 31 s it has %.2f of its share", policy, got)
			}
		})
	}
}

func TestAFailureSetsANewcomerBackToOneRequest(t *testing.T) {
	for _, o := range []health.Outcome{health.Failure, health.Timeout} {
		onRamp(t, func(t *testing.T, s *stage, newcomer *adapter.Backend) {
			hold(t, s.Balancer, newcomer, 40)[0].Done(health.Success)
			held := wantAtOnce(t, s, newcomer, 2, "after an answer")
			for _, r := range held {
				r.Done(o)
			}
			wantAtOnce(t, s, newcomer, 1, "after a failure")
			if got := state(s.Balancer, newcomer); got != balancer.StateJoining {
				t.Errorf("it is said to be %q", got)
			}
		})
	}
}

func TestANewcomerThatIsSilentGetsMoreEachSecond(t *testing.T) {
	onRamp(t, func(t *testing.T, s *stage, newcomer *adapter.Backend) {
		wantAtOnce(t, s, newcomer, 1, "at first")
		before := newcomer.InFlight()
		pass(999 * time.Millisecond)
		if hold(t, s.Balancer, newcomer, 4); newcomer.InFlight() != before {
			t.Error("before a second is over it gets another request")
		}
		pass(time.Millisecond)
		wantAtOnce(t, s, newcomer, 2, "after a second of silence")
		pass(time.Second)
		wantAtOnce(t, s, newcomer, 4, "after two seconds of silence")
	})
}

func TestStreamsAreNotHeldBackFromANewcomer(t *testing.T) {
	onRamp(t, func(t *testing.T, s *stage, newcomer *adapter.Backend) {
		call := hold(t, s.Balancer, newcomer, 40)
		before := newcomer.InFlight()
		for range 200 { // none has an answer
			if _, err := s.Pick(adapter.Request{Stream: true}); err != nil {
				t.Fatal(err)
			}
		}
		if n := newcomer.InFlight() - before; n < 25 || n > 60 {
			t.Errorf("it got %d of 200 streams, want about 40", n)
		}
		call[0].Done(health.Success)
		streams := newcomer.InFlight()
		if hold(t, s.Balancer, newcomer, 200); newcomer.InFlight() == streams {
			t.Error("streams without an answer keep other requests from it")
		}
	})
}

// The first request may be a subscription that says nothing for as long as it lasts.
func TestANewcomerWhoseFirstRequestIsASilentStreamHasItsShareOfOthers(t *testing.T) {
	for _, policy := range []string{balancer.Adaptive, balancer.LeastRequest, balancer.Random, balancer.RoundRobin, balancer.Weighted} {
		config := balancer.Config{Policy: policy, AnsweredLoad: -1} // the stream itself is no load
		onStage(t, config, 4, func(t *testing.T, s *stage) {
			s.play(t, time.Second, fast(5*time.Millisecond))
			old := s.Backends()
			s.Update(endpoints(0, 5))
			newcomer := whose(t, s.Balancer, 4)
			if p, err := s.Pick(adapter.Request{Stream: true, Tried: old}); err != nil || p.Backend() != newcomer {
				t.Fatalf("the stream is not at it: %v", err)
			}
			s.play(t, time.Second, fast(5*time.Millisecond))
			if got := ofFair(s.play(t, 5*time.Second, fast(5*time.Millisecond))[0], newcomer, 5); got < 0.8 || got > 1.25 {
				t.Errorf("%s: it has %.2f of its share", policy, got)
			}
			if got := state(s.Balancer, newcomer); got != balancer.StateFit {
				t.Errorf("%s: it is said to be %q", policy, got)
			}
		})
	}
}

func TestABackendThatComesBackProvesItselfLikeANewcomer(t *testing.T) {
	for name, comeBack := range map[string]func(t *testing.T, b *adapter.Balancer, be *adapter.Backend){
		"from an ejection": func(t *testing.T, b *adapter.Balancer, be *adapter.Backend) {
			strike(t, b, be, 5, health.Failure)
			pass(time.Second)
			probe := pick(t, b)
			if probe.Backend != be {
				t.Fatal("the next request is no probe")
			}
			probe.Done(health.Success)
		},
		"from a lost connection": func(_ *testing.T, _ *adapter.Balancer, be *adapter.Backend) {
			be.Observe(health.Unreachable)
			pass(time.Second)
			be.Observe(health.Success)
		},
	} {
		for _, policy := range byTurnOrLoad {
			onStage(t, balancer.Config{Policy: policy}, 5, func(t *testing.T, s *stage) {
				be := s.Backends()[0]
				comeBack(t, s.Balancer, be)
				pass(100 * time.Millisecond)
				if got := state(s.Balancer, be); got != balancer.StateJoining {
					t.Errorf("%s, %s: back %s it is said to be %q", policy, name, name, got)
				}
				for _, r := range wantAtOnce(t, s, be, 1, policy+": back "+name) {
					r.Done(health.Success)
				}
				if got := ofFair(s.play(t, time.Second, fast(4*time.Millisecond))[0], be, 5); got < 0.7 {
					t.Errorf("%s: back %s it has %.2f of its share in the first second", policy, name, got)
				}
			})
		}
	}
}

// A connection that is made for the first time is that of no newcomer, if the
// endpoint was there from the start.
func TestTheFirstConnectionStartsNoRamp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBalancer(t, balancer.RoundRobin, adapter.Hooks{ConnectFirst: true})
		b.Update(endpoints(0, 5))
		for _, be := range b.Backends() {
			be.Observe(health.Success)
		}
		synctest.Wait()
		for _, be := range b.Backends() {
			if got := state(b, be); got != balancer.StateFit {
				t.Errorf("connected for the first time, %v is said to be %q", be.Endpoint(), got)
			}
		}
		again := b.Backends()[0]
		again.Observe(health.Unreachable)
		again.Observe(health.Success)
		if got := state(b, again); got != balancer.StateJoining {
			t.Errorf("connected again, it is said to be %q", got)
		}
	})
}

func TestWhereNearlyAllAreNewNoneIsHeldBack(t *testing.T) {
	for _, policy := range byTurnOrLoad {
		for name, change := range map[string]func(b *adapter.Balancer){
			"at the start":                  func(*adapter.Balancer) {},
			"when all were replaced":        func(b *adapter.Balancer) { b.Update(endpoints(10, 5)) },
			"when one became five":          func(b *adapter.Balancer) { b.Update(endpoints(0, 1)); b.Update(endpoints(0, 5)) },
			"when all were connected again": reconnectAll,
		} {
			onStage(t, balancer.Config{Policy: policy}, 5, func(t *testing.T, s *stage) {
				change(s.Balancer)
				pass(100 * time.Millisecond)
				for range 100 { // none is answered
					pick(t, s.Balancer)
				}
				for _, be := range s.Backends() {
					if n := be.InFlight(); n < 8 || n > 34 {
						t.Errorf("%s, %s: one has %d of 100 requests at once, want about 20", policy, name, n)
					}
				}
			})
		}
	}
}

func reconnectAll(b *adapter.Balancer) {
	for _, o := range []health.Outcome{health.Unreachable, health.Success} {
		for _, be := range b.Backends() {
			be.Observe(o)
		}
	}
}

// When all have failed and none is ejected any more, none is a newcomer either.
func TestAPardonMakesNoNewcomers(t *testing.T) {
	onStage(t, anyTurn, 4, func(t *testing.T, s *stage) {
		serve(t, s.Balancer, 80, failing(s.Backends()...))
		synctest.Wait()
		for _, be := range s.Backends() {
			if got := state(s.Balancer, be); got != balancer.StateFit {
				t.Errorf("one is said to be %q", got)
			}
		}
	})
}

func TestANewcomerTakesOverWhenManyRequestsWaitAtTheOthers(t *testing.T) {
	for _, policy := range byTurnOrLoad {
		onStage(t, balancer.Config{Policy: policy}, 2, func(t *testing.T, s *stage) {
			old := s.Backends()
			slow := traffic{every: 5 * time.Millisecond, serve: func(be *adapter.Backend) (time.Duration, health.Outcome) {
				if slices.Contains(old, be) {
					return 200 * time.Millisecond, health.Success // so that 20 wait at each
				}
				return time.Minute, health.Success // it has not answered yet
			}}
			s.play(t, 10*time.Second, slow)
			s.Update(endpoints(0, 3))
			newcomer := whose(t, s.Balancer, 2)
			s.play(t, 500*time.Millisecond, slow)
			if n := newcomer.InFlight(); n < 7 || n > 14 {
				t.Errorf("%s: where 20 wait at each of the others, %d wait at it after half a second, want about half as many", policy, n)
			}
		})
	}
}
