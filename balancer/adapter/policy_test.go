package adapter_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/adapter"
	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/health"
)

func TestEqualBackendsGetEqualShares(t *testing.T) {
	for _, policy := range []string{balancer.Adaptive, balancer.LeastRequest, balancer.Random} {
		inTime(t, balancer.Config{Policy: policy}, 10, func(t *testing.T, b *adapter.Balancer) {
			random := rand.New(rand.NewPCG(3, 3))
			got := map[*adapter.Backend]int{}
			var open []*request
			for range 20_000 { // twenty in flight, 10 ms on average
				r := pick(t, b)
				got[r.Backend]++
				open = append(open, r)
				pass(time.Duration(random.ExpFloat64() * float64(500*time.Microsecond)))
				if len(open) == 20 {
					i := random.IntN(len(open))
					open[i].Done(health.Success)
					open = slices.Delete(open, i, i+1)
				}
			}
			// σ ≈ 42 by the draws alone, and 100 where latencies count, which differ by chance.
			for be, n := range got {
				if n < 1600 || n > 2500 {
					t.Errorf("%s: %v got %d of 20000 requests, want about 2000", policy, be.Endpoint(), n)
				}
			}
			for _, r := range open {
				r.Done(health.Neutral)
			}
		})
	}
}

// serve makes n requests, one after another, and returns how many each got.
func serve(t testing.TB, b *adapter.Balancer, n int, outcome func(*adapter.Backend) health.Outcome) map[*adapter.Backend]int {
	t.Helper()
	got := map[*adapter.Backend]int{}
	for range n {
		r := pick(t, b)
		got[r.Backend]++
		r.Done(outcome(r.Backend))
	}
	return got
}

func succeed(*adapter.Backend) health.Outcome { return health.Success }

func withWeights(weights ...uint32) []discovery.Endpoint {
	all := endpoints(0, len(weights))
	for i, w := range weights {
		all[i].Weight = w
	}
	return all
}

func TestWeightedGivesTurnsByWeight(t *testing.T) {
	random := rand.New(rand.NewPCG(2, 2))
	for _, weights := range [][]uint32{{1, 2}, {1, 2, 3, 10}, {0, 1, 1, 1}, {1, 1000}, {7, 7, 7, 7, 7}, {1, 1, 1, 1, 1, 1, 1, 1, 1, 90}, nil} {
		if weights == nil {
			for range 50 {
				weights = append(weights, 1+random.Uint32N(100))
			}
		}
		b := newBalancer(t, balancer.Weighted, adapter.Hooks{})
		b.Update(withWeights(weights...))
		sum := 0.0
		for _, be := range b.Backends() {
			sum += float64(be.Weight())
		}
		// Even at any moment: nobody is ever far from the turns that are its due.
		got := map[*adapter.Backend]int{}
		for picked := 1; picked <= 20_000; picked++ {
			r := pick(t, b)
			got[r.Backend]++
			r.Done(health.Success)
			if picked%97 != 0 {
				continue
			}
			for _, be := range b.Backends() {
				if due := float64(picked) * float64(be.Weight()) / sum; math.Abs(float64(got[be])-due) > 4 {
					t.Fatalf("%v: one with weight %d got %d of %d turns, due are %.1f", weights, be.Weight(), got[be], picked, due)
				}
			}
		}
	}
}

func TestWeightedWithEqualWeightsIsRoundRobin(t *testing.T) {
	b := newBalancer(t, balancer.Weighted, adapter.Hooks{})
	b.Update(endpoints(0, 13))
	for be, n := range serve(t, b, 13*100, succeed) {
		if n != 100 {
			t.Errorf("%v got %d of 1300 requests, want 100", be.Endpoint(), n)
		}
	}
}

// sharesOf returns which part of many requests each backend gets, in the order of
// Backends.
func sharesOf(t testing.TB, b *adapter.Balancer) []float64 {
	t.Helper()
	const n = 10_000
	got := serve(t, b, n, succeed)
	all := make([]float64, 0, len(got))
	for _, be := range b.Backends() {
		all = append(all, float64(got[be])/n)
	}
	return all
}

func near(got []float64, want ...float64) bool {
	for i := range want {
		if math.Abs(got[i]-want[i]) > 0.01 {
			return false
		}
	}
	return len(got) == len(want)
}

// reporting runs a test of load reports in virtual time.
func reporting(t *testing.T, f func(t *testing.T, b *adapter.Balancer, report func(d time.Duration, loads ...adapter.LoadReport))) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newBalancer(t, balancer.Weighted, adapter.Hooks{})
		b.Update(withWeights(1, 1, 1))
		// report lets the backends report for a time, once every 100 ms.
		f(t, b, func(d time.Duration, loads ...adapter.LoadReport) {
			for range d / (100 * time.Millisecond) {
				for i, load := range loads {
					b.Backends()[i].Report(load)
				}
				time.Sleep(100 * time.Millisecond) // of virtual time
			}
			synctest.Wait()
		})
	})
}

// load is a report of what a server can serve, at half its capacity.
func load(capacity float64) adapter.LoadReport {
	return adapter.LoadReport{CPUUtilization: 0.5, QPS: capacity / 2}
}

func TestLoadReportsCountAfterTheBlackoutAndUntilTheyExpire(t *testing.T) {
	const third = 1.0 / 3
	reporting(t, func(t *testing.T, b *adapter.Balancer, report func(time.Duration, ...adapter.LoadReport)) {
		report(9*time.Second, load(100), load(200), load(300))
		if got := sharesOf(t, b); !near(got, third, third, third) {
			t.Errorf("after 9 s of reports: %v, want equal shares", got)
		}
		report(3*time.Second, load(100), load(200), load(300))
		if got := sharesOf(t, b); !near(got, 1.0/6, 2.0/6, 3.0/6) {
			t.Errorf("after 12 s of reports: %v, want shares of 1:2:3", got)
		}
		report(178*time.Second, load(100), load(200)) // the third is silent
		if got := sharesOf(t, b); !near(got, 1.0/6, 2.0/6, 3.0/6) {
			t.Errorf("after 178 s without one of the reports: %v, want shares of 1:2:3", got)
		}
		report(4*time.Second, load(100), load(200))
		if got := sharesOf(t, b); !near(got, 1/4.5, 2/4.5, 1.5/4.5) {
			t.Errorf("after one expired: %v, want that to have the mean of the others", got)
		}
		report(9*time.Second, load(100), load(200), load(300))
		if got := sharesOf(t, b); !near(got, 1/4.5, 2/4.5, 1.5/4.5) {
			t.Errorf("9 s after its reports came again: %v, want it to have the mean still", got)
		}
		time.Sleep(182 * time.Second) // of virtual time
		synctest.Wait()
		if got := sharesOf(t, b); !near(got, third, third, third) {
			t.Errorf("after all expired: %v, want equal shares", got)
		}
	})
}

func TestALoadReportOfOneBackendAloneDoesNotCount(t *testing.T) {
	reporting(t, func(t *testing.T, b *adapter.Balancer, report func(time.Duration, ...adapter.LoadReport)) {
		b.Update(withWeights(1, 1, 2))
		report(15*time.Second, load(1000))
		got := sharesOf(t, b)
		for i, be := range b.Backends() {
			if math.Abs(got[i]-float64(be.Weight())/4) > 0.01 {
				t.Errorf("weight %d has a share of %v", be.Weight(), got[i])
			}
		}
	})
}

func TestErrorsCountAsUtilization(t *testing.T) {
	reporting(t, func(t *testing.T, b *adapter.Balancer, report func(time.Duration, ...adapter.LoadReport)) {
		failing := adapter.LoadReport{CPUUtilization: 0.5, QPS: 100, EPS: 50}
		report(12*time.Second, adapter.LoadReport{CPUUtilization: 0.5, QPS: 100}, failing, adapter.LoadReport{ApplicationUtilization: 0.25, CPUUtilization: 0.9, QPS: 100})
		if got := sharesOf(t, b); !near(got, 2.0/7, 1.0/7, 4.0/7) {
			t.Errorf("%v, want shares of 2:1:4", got)
		}
	})
}

func TestLoadReportsThatMakeNoSenseSayNothing(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, bad := range []adapter.LoadReport{
		{},
		{CPUUtilization: 0.5},
		{QPS: 100},
		{CPUUtilization: -1, QPS: 100},
		{CPUUtilization: 0.5, QPS: -100},
		{CPUUtilization: 0.5, QPS: 100, EPS: -30},
		{CPUUtilization: nan, QPS: 100},
		{CPUUtilization: 0.5, QPS: nan},
		{CPUUtilization: 0.5, QPS: 100, EPS: nan},
		{ApplicationUtilization: nan, QPS: 1},
		{CPUUtilization: 0.5, QPS: inf},
		{CPUUtilization: inf, QPS: 100},
		{CPUUtilization: 0.5, QPS: 100, EPS: inf},
		{CPUUtilization: 1e-300, QPS: 1e300},
	} {
		reporting(t, func(t *testing.T, b *adapter.Balancer, report func(time.Duration, ...adapter.LoadReport)) {
			report(12*time.Second, load(100), load(300), bad)
			if got := sharesOf(t, b); !near(got, 1.0/6, 3.0/6, 2.0/6) {
				t.Errorf("%+v: %v, want its backend to have the mean of the others", bad, got)
			}
		})
	}
}

func TestNoLoadReportStarvesTheOthers(t *testing.T) {
	reporting(t, func(t *testing.T, b *adapter.Balancer, report func(time.Duration, ...adapter.LoadReport)) {
		report(12*time.Second, load(1e12), load(100), load(1e-12))
		for i, share := range sharesOf(t, b) {
			if share < 0.02 {
				t.Errorf("the %d. backend has a share of %v", i+1, share)
			}
		}
	})
}

func TestReportsCountAnewAfterAConnectionWasLost(t *testing.T) {
	reporting(t, func(t *testing.T, b *adapter.Balancer, report func(time.Duration, ...adapter.LoadReport)) {
		report(12*time.Second, load(100), load(200), load(300))
		b.Backends()[2].Observe(health.Unreachable)
		b.Backends()[2].Observe(health.Success)
		report(5*time.Second, load(100), load(200), load(300))
		if got := sharesOf(t, b); !near(got, 1/4.5, 2/4.5, 1.5/4.5) {
			t.Errorf("5 s after it was lost: %v, want the third to have the mean of the others", got)
		}
		report(8*time.Second, load(100), load(200), load(300))
		if got := sharesOf(t, b); !near(got, 1.0/6, 2.0/6, 3.0/6) {
			t.Errorf("13 s after it was lost: %v, want shares of 1:2:3", got)
		}
	})
}

func TestWithoutReportsWeightedSetsNoTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var timers, published atomic.Int32
		b := newBalancer(t, balancer.Weighted, adapter.Hooks{
			Published: func() { published.Add(1) },
			AfterFunc: func(d time.Duration, f func()) { timers.Add(1); time.AfterFunc(d, f) },
		})
		b.Update(endpoints(0, 3))
		serve(t, b, 100, succeed)
		time.Sleep(time.Hour) // of virtual time
		if n := timers.Load(); n != 0 {
			t.Errorf("%d timers were set", n)
		}
		before := published.Load()
		for range 1000 {
			for _, be := range b.Backends() {
				be.Report(load(100))
			}
		}
		time.Sleep(10 * time.Second) // of virtual time
		synctest.Wait()
		if n := published.Load() - before; n < 9 || n > 11 {
			t.Errorf("published %d times in 10 s, want once a second", n)
		}
		time.Sleep(time.Hour) // of virtual time
		synctest.Wait()
		if n := published.Load() - before; n > 181 {
			t.Errorf("published %d times after the last report, want no more after three minutes", n)
		}
		before = timers.Load()
		b.Close()
		for _, be := range b.Backends() {
			be.Report(load(100))
		}
		if timers.Load() != before {
			t.Error("a report after Close set a timer")
		}
	})
}

func TestReportsMeanNothingToOtherPolicies(t *testing.T) {
	b := newBalancer(t, balancer.RoundRobin, adapter.Hooks{AfterFunc: func(time.Duration, func()) { t.Error("a timer was set") }})
	b.Update(endpoints(0, 3))
	for _, be := range b.Backends() {
		be.Report(load(100))
	}
}
