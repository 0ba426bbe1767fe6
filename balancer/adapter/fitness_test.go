package adapter_test

import (
	"errors"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/adapter"
	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/health"
)

// inTime runs a test in virtual time, with a Balancer of n backends that have
// all answered once.
func inTime(t *testing.T, config balancer.Config, n int, f func(t *testing.T, b *adapter.Balancer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b, err := adapter.New(config, adapter.Hooks{Connect: connect, Random: sameChance()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Close)
		b.Update(endpoints(0, n))
		prove(t, b)
		f(t, b)
	})
}

var chances atomic.Uint64

// sameChance returns a source of chance for many goroutines (SplitMix64). No two of a
// process are alike, and each is the same whenever the same tests run.
func sameChance() func() uint64 {
	var state atomic.Uint64
	state.Store(chances.Add(1) << 32)
	return func() uint64 {
		x := state.Add(0x9e3779b97f4a7c15)
		x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
		x = (x ^ x>>27) * 0x94d049bb133111eb
		return x ^ x>>31
	}
}

func pass(d time.Duration) {
	time.Sleep(d) // of virtual time
	synctest.Wait()
}

// failing is an outcome: these backends fail.
func failing(bad ...*adapter.Backend) func(*adapter.Backend) health.Outcome {
	return func(be *adapter.Backend) health.Outcome {
		if slices.Contains(bad, be) {
			return health.Failure
		}
		return health.Success
	}
}

// strike lets requests to be fail one after another, n times.
func strike(t *testing.T, b *adapter.Balancer, be *adapter.Backend, n int, o health.Outcome) {
	t.Helper()
	var others []*adapter.Backend
	for _, other := range b.Backends() {
		if other != be {
			others = append(others, other)
		}
	}
	for range n {
		p, err := b.Pick(adapter.Request{Tried: others})
		if err != nil {
			return // it is out
		}
		p.Done(adapter.Result{Outcome: o})
	}
	synctest.Wait()
}

func unfit(b *adapter.Balancer) (n int) {
	for _, be := range b.Backends() {
		if !be.Fit() {
			n++
		}
	}
	return n
}

var anyTurn = balancer.Config{Policy: balancer.RoundRobin}

func TestFiveFailuresInARowEjectOneOfTwo(t *testing.T) {
	for _, o := range []health.Outcome{health.Failure, health.Timeout} {
		inTime(t, anyTurn, 2, func(t *testing.T, b *adapter.Balancer) {
			bad := b.Backends()[0]
			strike(t, b, bad, 4, o)
			if !bad.Fit() {
				t.Fatalf("ejected after four of outcome %v", o)
			}
			strike(t, b, bad, 1, o)
			if bad.Fit() {
				t.Fatalf("not ejected after five of outcome %v", o)
			}
			if n := serve(t, b, 1000, succeed)[bad]; n != 0 {
				t.Errorf("the ejected one got %d of 1000 requests", n)
			}
		})
	}
}

func TestASuccessEndsARowOfFailures(t *testing.T) {
	inTime(t, anyTurn, 2, func(t *testing.T, b *adapter.Balancer) {
		bad := b.Backends()[0]
		strike(t, b, bad, 4, health.Failure)
		strike(t, b, bad, 1, health.Success)
		strike(t, b, bad, 4, health.Failure)
		if !bad.Fit() {
			t.Error("ejected")
		}
	})
}

func TestNeutralOutcomesNeitherHelpNorHarm(t *testing.T) {
	inTime(t, anyTurn, 2, func(t *testing.T, b *adapter.Balancer) {
		bad := b.Backends()[0]
		strike(t, b, bad, 1000, health.Neutral)
		if !bad.Fit() {
			t.Error("ejected for neutral outcomes")
		}
		strike(t, b, bad, 4, health.Failure)
		strike(t, b, bad, 100, health.Neutral)
		strike(t, b, bad, 1, health.Failure)
		if bad.Fit() {
			t.Error("neutral outcomes ended a row of failures")
		}
	})
}

func TestLessThanFourFifthsOfSuccessesInTenSecondsEject(t *testing.T) {
	for _, test := range []struct {
		good  int           // successes for each failure
		every time.Duration // between requests
		out   bool
	}{
		{1, 100 * time.Millisecond, true},
		{3, 100 * time.Millisecond, true},
		{9, 100 * time.Millisecond, false},
		{1, 1500 * time.Millisecond, false}, // fewer than ten in ten seconds
	} {
		inTime(t, anyTurn, 3, func(t *testing.T, b *adapter.Balancer) {
			bad := b.Backends()[0]
			for range 100 / (test.good + 1) {
				strike(t, b, bad, 1, health.Failure)
				pass(test.every)
				for range test.good {
					strike(t, b, bad, 1, health.Success)
					pass(test.every)
				}
				if !bad.Fit() {
					break
				}
			}
			if bad.Fit() == test.out {
				t.Errorf("%d successes for each failure, one request every %v: fit %t", test.good, test.every, bad.Fit())
			}
		})
	}
}

func TestAnEjectedBackendComesBackByOneProbe(t *testing.T) {
	for _, policy := range balancer.Policies() {
		inTime(t, balancer.Config{Policy: policy}, 3, func(t *testing.T, b *adapter.Balancer) {
			bad := b.Backends()[0]
			strike(t, b, bad, 5, health.Failure)
			pass(499 * time.Millisecond)
			if n := serve(t, b, 100, succeed)[bad]; n != 0 {
				t.Fatalf("%s: it got %d requests before half a second was over", policy, n)
			}
			pass(502 * time.Millisecond)
			probe := pick(t, b)
			if probe.Backend != bad {
				t.Fatalf("%s: the first request after a second is no probe", policy)
			}
			if n := serve(t, b, 100, succeed)[bad]; n != 0 {
				t.Fatalf("%s: it got %d requests more while the probe was out", policy, n)
			}
			pass(998 * time.Millisecond)
			if n := serve(t, b, 100, succeed)[bad]; n != 0 || bad.Fit() {
				t.Fatalf("%s: it got %d requests more within a second of the probe", policy, n)
			}
			pass(2 * time.Millisecond)
			second := pick(t, b)
			if second.Backend != bad {
				t.Fatalf("%s: after a second without an answer there was no other probe", policy)
			}
			second.Done(health.Success)
			probe.Done(health.Success)
			synctest.Wait()
			if !bad.Fit() || bad.InFlight() != 0 {
				t.Fatalf("%s: after the probe: fit %t, in flight %d", policy, bad.Fit(), bad.InFlight())
			}
			if n := serve(t, b, 3000, succeed)[bad]; n < 700 || n > 1300 {
				t.Errorf("%s: once back, it got %d of 3000 requests, want about 1000", policy, n)
			}
		})
	}
}

func TestAProbeThatSaysNothingIsFollowedByAnother(t *testing.T) {
	inTime(t, anyTurn, 2, func(t *testing.T, b *adapter.Balancer) {
		bad := b.Backends()[0]
		strike(t, b, bad, 5, health.Failure)
		pass(time.Second)
		for range 3 {
			probe := pick(t, b)
			if probe.Backend != bad {
				t.Fatal("the next request is no probe")
			}
			probe.Done(health.Neutral)
		}
	})
}

// An answer to a probe proves the backend, however long its stream goes on.
func TestTheAnswerToAProbeBringsABackendBack(t *testing.T) {
	for _, o := range []health.Outcome{health.Success, health.Neutral} {
		inTime(t, anyTurn, 2, func(t *testing.T, b *adapter.Balancer) {
			bad := b.Backends()[0]
			strike(t, b, bad, 5, health.Failure)
			pass(time.Second)
			probe := pick(t, b)
			probe.pick.Answered(adapter.Result{Outcome: o})
			synctest.Wait()
			if !bad.Fit() {
				t.Errorf("not fit after an answer of outcome %v", o)
			}
			probe.Done(health.Success)
		})
	}
}

func TestEachEjectionIsTwiceAsLongUpToAMinute(t *testing.T) {
	seen := map[time.Duration]bool{}
	for range 10 {
		inTime(t, anyTurn, 2, func(t *testing.T, b *adapter.Balancer) {
			bad := b.Backends()[0]
			strike(t, b, bad, 5, health.Failure)
			for _, seconds := range []int{1, 2, 4, 8, 16, 32, 60, 60} {
				whole := time.Duration(seconds) * time.Second
				start := time.Now()
				for {
					r := pick(t, b)
					r.Done(failing(bad)(r.Backend))
					if r.Backend == bad {
						break
					}
					pass(10 * time.Millisecond)
				}
				out := time.Since(start)
				if out < whole/2 || out > whole+10*time.Millisecond {
					t.Errorf("out for %v, want a time between half of %v and all of it", out, whole)
				}
				if whole == 16*time.Second {
					seen[out] = true
				}
			}
		})
	}
	if len(seen) < 5 {
		t.Errorf("in ten runs there were %d different times: no jitter", len(seen))
	}
}

func TestAMinuteOfGoodConductClearsTheRecord(t *testing.T) {
	inTime(t, anyTurn, 2, func(t *testing.T, b *adapter.Balancer) {
		bad := b.Backends()[0]
		for range 3 { // a second each, and not four for the last
			strike(t, b, bad, 5, health.Failure)
			if bad.Fit() {
				t.Fatal("not ejected")
			}
			pass(1001 * time.Millisecond)
			if n := serve(t, b, 10, succeed)[bad]; n == 0 || !bad.Fit() {
				t.Fatal("not back after a second")
			}
			pass(61 * time.Second)
		}
	})
}

func TestNoMoreThanAShareIsEjectedAndNeverTheLast(t *testing.T) {
	for _, test := range []struct{ n, percent, bad, out int }{
		{10, 0, 7, 5},
		{10, 20, 7, 2},
		{10, 100, 9, 9},
		{10, -1, 7, 0},
		{3, 0, 2, 1},
		{2, 100, 1, 1},
		{1, 100, 1, 0},
	} {
		config := anyTurn
		config.MaxEjectedPercent = test.percent
		inTime(t, config, test.n, func(t *testing.T, b *adapter.Balancer) {
			bad := b.Backends()[:test.bad]
			serve(t, b, 20*test.n, failing(bad...))
			synctest.Wait()
			if n := unfit(b); n != test.out {
				t.Errorf("%d of %d fail, at most %d %% out: %d are out, want %d", test.bad, test.n, test.percent, n, test.out)
			}
		})
	}
}

// When all fail, the cause is none of them.
func TestWhenAllFailNoneIsOutForAWhile(t *testing.T) {
	for _, n := range []int{1, 2, 4} {
		inTime(t, anyTurn, n, func(t *testing.T, b *adapter.Balancer) {
			serve(t, b, 20*n, failing(b.Backends()...))
			for range 9 {
				pass(time.Second)
				got := serve(t, b, 20*n, failing(b.Backends()...))
				synctest.Wait()
				if out := unfit(b); out != 0 || len(got) != n {
					t.Fatalf("of %d, %d are out, and %d get requests", n, out, len(got))
				}
			}
			if n < 2 {
				return
			}
			pass(2 * time.Second)
			serve(t, b, 20*n, failing(b.Backends()[0]))
			synctest.Wait()
			if unfit(b) != 1 {
				t.Errorf("%d are out when one alone still fails, want 1", unfit(b))
			}
		})
	}
}

// What was due to end an ejection that failing open has ended does not cut short the
// next one.
func TestAPardonLeavesNoProbeBehind(t *testing.T) {
	inTime(t, anyTurn, 2, func(t *testing.T, b *adapter.Balancer) {
		bad, other := b.Backends()[0], b.Backends()[1]
		strike(t, b, bad, 5, health.Failure)
		for range 6 { // it is out for half a minute at last
			for {
				r := pick(t, b)
				r.Done(failing(bad)(r.Backend))
				if r.Backend == bad {
					break
				}
				pass(100 * time.Millisecond)
			}
		}
		strike(t, b, other, 5, health.Failure)
		if unfit(b) != 0 {
			t.Fatal("no pardon")
		}
		pass(10 * time.Second)
		strike(t, b, bad, 5, health.Failure)
		var probe *request
		for probe == nil {
			r := pick(t, b)
			if r.Backend == bad {
				probe = r
				break
			}
			r.Done(health.Success)
			pass(100 * time.Millisecond)
		}
		for range 9 {
			pass(100 * time.Millisecond)
			if n := serve(t, b, 10, succeed)[bad]; n != 0 {
				t.Fatal("it got another request within a second of the probe")
			}
		}
		probe.Done(health.Success)
	})
}

// A backend that leaves while its requests fail takes its ejection with it.
func TestABackendThatLeftDoesNotCountAsEjected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var doomed []*request
		b := newBalancer(t, balancer.RoundRobin, adapter.Hooks{Published: func() {
			for _, r := range doomed { // they end in the middle of the update
				r.Done(health.Failure)
			}
			doomed = nil
		}})
		b.Update(endpoints(0, 5))
		prove(t, b)
		gone := b.Backends()[0]
		all := b.Backends()
		for range 5 {
			p, err := b.Pick(adapter.Request{Tried: all[1:]})
			if err != nil {
				t.Fatal(err)
			}
			doomed = append(doomed, &request{gone, p})
		}
		var rest []discovery.Endpoint
		for _, be := range all[1:] {
			rest = append(rest, *be.Endpoint())
		}
		b.Update(rest)
		synctest.Wait()
		serve(t, b, 100, failing(all[1], all[2]))
		synctest.Wait()
		if n := unfit(b); n != 2 {
			t.Errorf("%d of 4 are out, want 2", n)
		}
	})
}

func TestAnEjectedBackendServesWhenTheOthersCannotBeReached(t *testing.T) {
	for _, policy := range balancer.Policies() {
		inTime(t, balancer.Config{Policy: policy}, 2, func(t *testing.T, b *adapter.Balancer) {
			bad, lost := b.Backends()[0], b.Backends()[1]
			strike(t, b, bad, 5, health.Failure)
			lost.Observe(health.Unreachable)
			serve(t, b, 10, failing()) // before it is published: somebody gets them
			lost.Observe(health.Unreachable)
			pass(10 * time.Millisecond)
			if n := serve(t, b, 10, failing(bad))[bad]; n != 10 {
				t.Errorf("%s: the ejected one got %d of 10 requests", policy, n)
			}
		})
	}
}

func TestANewBackendGetsItsShareBySlowStart(t *testing.T) {
	for _, policy := range []string{balancer.Random, balancer.RoundRobin, balancer.Weighted} {
		inTime(t, balancer.Config{Policy: policy, SlowStart: 30 * time.Second}, 9, func(t *testing.T, b *adapter.Balancer) {
			pass(time.Minute)
			b.Update(endpoints(0, 10))
			var fresh *adapter.Backend
			for _, be := range b.Backends() {
				if be.Endpoint().Addr == endpoints(9, 1)[0].Addr {
					fresh = be
				}
			}
			for _, test := range []struct{ after, admitted float64 }{{0, 0.1}, {1, 0.1}, {15, 0.5}, {27, 0.9}, {30, 1}, {300, 1}} {
				joined := time.Now()
				const n = 10_000
				got := float64(serve(t, b, n, succeed)[fresh]) / n
				want := 0.1 * test.admitted / (0.9 + 0.1*test.admitted)
				if math.Abs(got-want) > 0.3*want+0.002 {
					t.Errorf("%s: %v s after it came, its share is %.4f, want %.4f", policy, test.after, got, want)
				}
				pass(time.Duration(map[float64]float64{0: 1, 1: 14, 15: 12, 27: 3, 30: 270, 300: 0}[test.after]*float64(time.Second)) - time.Since(joined))
			}
		})
	}
}

func TestSlowStartIsForThoseWhoJoinOthers(t *testing.T) {
	config := anyTurn
	config.SlowStart = 30 * time.Second
	inTime(t, config, 4, func(t *testing.T, b *adapter.Balancer) {
		for _, n := range serve(t, b, 400, succeed) {
			if n != 100 {
				t.Errorf("one of the first four got %d of 400 requests", n)
			}
		}
	})
	config.SlowStart = 0
	inTime(t, config, 3, func(t *testing.T, b *adapter.Balancer) {
		b.Update(endpoints(0, 4))
		for _, n := range serve(t, b, 400, succeed) {
			if n != 100 {
				t.Errorf("without slow start, one got %d of 400 requests", n)
			}
		}
	})
}

func TestABackendThatNeverAnsweredGetsOneRequestAtATime(t *testing.T) {
	for _, policy := range balancer.Policies() {
		config := balancer.Config{Policy: policy}
		inTime(t, config, 4, func(t *testing.T, b *adapter.Balancer) {
			b.Update(endpoints(0, 5))
			old := map[*adapter.Backend]bool{}
			var first *request
			for range 1000 {
				r := pick(t, b)
				if r.Endpoint().Addr == endpoints(4, 1)[0].Addr {
					first = r
					break
				}
				old[r.Backend] = true
				r.Done(health.Success)
			}
			if first == nil {
				t.Fatalf("%s: it got none of 1000 requests", policy)
			}
			neutral := func(*adapter.Backend) health.Outcome { return health.Neutral }
			if n := serve(t, b, 1000, neutral)[first.Backend]; n > 3 { // when it was drawn time and again, it may be picked
				t.Errorf("%s: it got %d requests more before it answered", policy, n)
			}
			first.pick.Answered(adapter.Result{Outcome: health.Neutral}) // that was an answer
			first.Done(health.Neutral)
			if n := serve(t, b, 1000, succeed)[first.Backend]; n == 0 {
				t.Errorf("%s: it got no request after it answered", policy)
			}
		})
	}
}

func TestMaxInFlightHoldsForEachBackend(t *testing.T) {
	for _, policy := range balancer.Policies() {
		inTime(t, balancer.Config{Policy: policy, MaxInFlight: 2}, 3, func(t *testing.T, b *adapter.Balancer) {
			var all []*request
			for range 6 {
				all = append(all, pick(t, b))
			}
			all[0].pick.Answered(adapter.Result{Outcome: health.Success}) // it is in flight until it is done
			if _, err := b.Pick(adapter.Request{}); !errors.Is(err, balancer.ErrBusy) {
				t.Errorf("%s: Pick: %v, want ErrBusy", policy, err)
			}
			if _, err := b.Pick(adapter.Request{Tried: b.Backends()[:2]}); !errors.Is(err, balancer.ErrBusy) {
				t.Errorf("%s: Pick after two were tried: %v, want ErrBusy", policy, err)
			}
			all[3].Done(health.Success)
			if r := pick(t, b); r.Backend != all[3].Backend {
				t.Errorf("%s: picked another one than that with room", policy)
			}
		})
	}
}

// untilPicked makes a request every 10 ms and returns the time until be gets one.
func untilPicked(t *testing.T, b *adapter.Balancer, be *adapter.Backend) time.Duration {
	t.Helper()
	for start := time.Now(); ; {
		r := pick(t, b)
		pass(10 * time.Millisecond)
		r.Done(health.Success)
		if r.Backend == be {
			return time.Since(start)
		}
		if time.Since(start) > time.Hour {
			t.Fatal("never picked again")
		}
	}
}

func TestABackendThatAskedForAPauseGetsIt(t *testing.T) {
	for _, policy := range balancer.Policies() {
		for after, want := range map[time.Duration]time.Duration{20 * time.Second: 20 * time.Second, 24 * time.Hour: 300 * time.Second} {
			inTime(t, balancer.Config{Policy: policy}, 3, func(t *testing.T, b *adapter.Balancer) {
				spared := b.Backends()[0]
				p := b.Take(spared)
				p.Done(adapter.Result{Outcome: health.Failure, RetryAfter: after})
				pass(want - time.Second)
				if n := serve(t, b, 1000, succeed)[spared]; n > 10 { // when it was drawn time and again, it may be picked
					t.Errorf("%s: it asked for %v, and got %d of 1000 requests before the end", policy, after, n)
				}
				pass(time.Second)
				if untilPicked(t, b, spared) > 2*time.Minute { // adaptive remembers the failure
					t.Errorf("%s: it got no request after its pause of %v", policy, want)
				}
			})
		}
	}
}

func TestWhenMostAskForAPauseNoneIsSpared(t *testing.T) {
	inTime(t, anyTurn, 5, func(t *testing.T, b *adapter.Balancer) {
		spared := func() (n int) {
			synctest.Wait()
			for _, s := range b.Status().Backends {
				if s.State == balancer.StateRetryAfter {
					n++
				}
			}
			return n
		}
		ask := func(i int) {
			p := b.Take(b.Backends()[i])
			p.Done(adapter.Result{Outcome: health.Failure, RetryAfter: time.Minute})
		}
		for i, want := range []int{1, 2, 0, 0, 0} {
			ask(i)
			if n := spared(); n != want {
				t.Errorf("when %d of 5 have asked, %d are spared, want %d", i+1, n, want)
			}
		}
		pass(31 * time.Second)
		if ask(0); spared() != 1 {
			t.Errorf("later, %d are spared, want 1", spared())
		}
	})
}

// What a backend that asked for a pause does not do the others have to do. When they cannot, it is
// used again.
func TestASparedBackendIsUsedWhenTheOthersAreOverloaded(t *testing.T) {
	for _, policy := range []string{balancer.RoundRobin, balancer.LeastRequest, balancer.Adaptive} {
		inTime(t, balancer.Config{Policy: policy}, 2, func(t *testing.T, b *adapter.Balancer) {
			spared := b.Backends()[0]
			p := b.Take(spared)
			p.Done(adapter.Result{Outcome: health.Failure, RetryAfter: 5 * time.Minute})
			synctest.Wait()
			var waiting []*request // of the other one, which answers ten in the time in which twenty come
			picked := false
			for range 100 {
				for range 20 {
					r := pick(t, b)
					if picked = r.Backend == spared; picked {
						break
					}
					waiting = append(waiting, r)
				}
				pass(100 * time.Millisecond)
				for range 10 {
					waiting[0].Done(health.Success)
					waiting = waiting[1:]
				}
				if picked {
					break
				}
			}
			if !picked {
				t.Errorf("%s: %d requests wait at the other one", policy, len(waiting))
			}
		})
	}
}

// The first request of a client finds everything cold, and its latency is the only
// one that is known for a while.
func TestOneThatWasNeverMeasuredIsTriedSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBalancer(t, balancer.Adaptive, adapter.Hooks{})
		b.Update(endpoints(0, 3))
		asked := make(map[*adapter.Backend]bool)
		latency := 50 * time.Millisecond
		for range 10 {
			r := pick(t, b)
			pass(latency)
			r.Done(health.Success)
			asked[r.Backend] = true
			latency = time.Millisecond
			pass(20 * time.Millisecond)
		}
		if len(asked) != 3 {
			t.Errorf("10 requests went to %d of 3 backends", len(asked))
		}
	})
}

func TestOneThatWasSlowIsTriedAgain(t *testing.T) {
	for _, policy := range []string{balancer.Adaptive} {
		inTime(t, balancer.Config{Policy: policy}, 2, func(t *testing.T, b *adapter.Balancer) {
			untilPicked(t, b, b.Backends()[0])
			slow := b.Backends()[1]
			untilPicked(t, b, slow)
			for range 2 { // one may be a request that takes long by itself
				r := pick(t, b, b.Backends()[0])
				pass(time.Second)
				r.Done(health.Success)
			}
			if d := untilPicked(t, b, slow); d < 2*time.Second || d > 2*time.Minute {
				t.Errorf("%s: tried again after %v", policy, d)
			}
		})
	}
}

func TestAnAnswerEndsTheLatencyButNotTheRequest(t *testing.T) {
	inTime(t, balancer.Config{}, 2, func(t *testing.T, b *adapter.Balancer) {
		one := pick(t, b)
		two := pick(t, b, one.Backend)
		pass(10 * time.Millisecond)
		for range 2 { // the second says nothing new
			one.pick.Answered(adapter.Result{Outcome: health.Success})
		}
		if one.InFlight() != 1 || two.InFlight() != 1 {
			t.Fatalf("in flight %d and %d, want 1 each", one.InFlight(), two.InFlight())
		}
		pass(time.Hour)
		// A stream that is an hour old is no sign of trouble. Requests that have
		// waited for their answers longer than others take are.
		three := pick(t, b, one.Backend)
		pass(time.Second)
		if n := serve(t, b, 100, succeed)[two.Backend]; n != 0 {
			t.Errorf("the one that hangs got %d of 100 requests", n)
		}
		three.Done(health.Neutral)
		two.pick.Answered(adapter.Result{Outcome: health.Neutral}) // and what was measured is no latency of its own
		pass(time.Minute)
		if n := serve(t, b, 100, succeed)[two.Backend]; n == 0 {
			t.Error("the one that hung got none of 100 requests after it answered")
		}
		one.Done(health.Success)
		two.Done(health.Success)
		if one.InFlight() != 0 || two.InFlight() != 0 {
			t.Errorf("in flight %d and %d at the end", one.InFlight(), two.InFlight())
		}
	})
}

func TestAStreamThatBreaksOffIsAFailure(t *testing.T) {
	inTime(t, anyTurn, 2, func(t *testing.T, b *adapter.Balancer) {
		bad := b.Backends()[0]
		for range 5 {
			r := pick(t, b, b.Backends()[1])
			r.pick.Answered(adapter.Result{})
			r.Done(health.Failure)
		}
		synctest.Wait()
		if bad.Fit() {
			t.Error("five streams broke off and it is still fit")
		}
	})
}

// Many goroutines pick and finish while backends come, go, fail, are ejected
// and recover. Time runs a hundred times as fast.
func TestNothingIsLostUnderStress(t *testing.T) {
	const (
		users    = 64
		requests = 200 // of each at least
		events   = 10  // backends that were out, and that came back, at least
		size     = 12  // of the window of endpoints that there are
		speed    = 100
	)
	for _, policy := range balancer.Policies() {
		t.Run(policy, func(t *testing.T) {
			start := time.Now()
			var out, back atomic.Int32
			b := newBalancer(t, policy, adapter.Hooks{
				Now:       func() int64 { return speed * int64(time.Since(start)) },
				AfterFunc: func(d time.Duration, f func()) { time.AfterFunc(d/speed, f) },
				FitnessChanged: func(be *adapter.Backend) {
					if be.Fit() {
						back.Add(1)
					} else {
						out.Add(1)
					}
				},
			})
			var oldest atomic.Int64 // the endpoint that is in the window since an update returned
			b.Update(endpoints(0, size))
			number := func(be *adapter.Backend) int64 {
				ip := be.Endpoint().Addr.Addr().As4()
				return int64(ip[1])<<16 | int64(ip[2])<<8 | int64(ip[3])
			}

			var working sync.WaitGroup
			seen := make([]map[*adapter.Backend]bool, users)
			for u := range users {
				seen[u] = map[*adapter.Backend]bool{}
				working.Go(func() {
					var open []adapter.Pick
					for i := 0; i < requests || (out.Load() < events || back.Load() < events) && time.Since(start) < 10*time.Second; i++ {
						there := oldest.Load()
						p, err := b.Pick(adapter.Request{Key: uint64(i), HasKey: i%2 == 0})
						if err != nil {
							t.Errorf("Pick: %v", err)
							return
						}
						be := p.Backend()
						seen[u][be] = true
						if number(be) < there {
							t.Errorf("picked number %d, which had left when number %d was the oldest", number(be), there)
						}
						if i%3 == 0 {
							p.Answered(adapter.Result{Outcome: health.Success})
						}
						if open = append(open, p); len(open) < 4 {
							continue
						}
						<-time.After(100 * time.Microsecond) // in flight
						for _, p := range open {
							outcome := health.Success
							if bad := number(p.Backend())%3 == 0; bad && i/50%2 == 0 { // a third fails, half of the time
								outcome = []health.Outcome{health.Failure, health.Timeout, health.Unreachable, health.Neutral}[i/4%4]
							}
							p.Done(adapter.Result{Outcome: outcome})
						}
						open = open[:0]
					}
					for _, p := range open {
						p.Done(adapter.Result{})
					}
				})
			}
			finished := make(chan struct{})
			updater := make(chan struct{})
			go func() {
				defer close(updater)
				for i := int64(1); ; i++ {
					select {
					case <-finished:
						return
					case <-time.After(time.Millisecond):
					}
					for _, be := range b.Backends() {
						be.Report(adapter.LoadReport{CPUUtilization: 0.5, QPS: float64(100 + i%7)})
						be.Observe(health.Success)
					}
					first := i / 8
					b.Update(endpoints(int(first), size))
					oldest.Store(first)
				}
			}()
			working.Wait()
			close(finished)
			<-updater
			for _, m := range seen {
				for be := range m {
					if be.InFlight() != 0 {
						t.Errorf("number %d: in flight %d", number(be), be.InFlight())
					}
				}
			}
			if out.Load() < events || back.Load() < events {
				t.Errorf("%d were out and %d came back: no stress", out.Load(), back.Load())
			}
		})
	}
}
