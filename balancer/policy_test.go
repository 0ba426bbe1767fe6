package balancer_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/health"
)

// peak is Finagle's PeakEwma.Metric, written down once more.
type peak struct {
	cost    float64
	stamp   int64
	pending int
}

func (p *peak) observe(now int64, rtt float64) {
	if rtt > p.cost {
		p.cost = rtt
	} else {
		w := math.Exp(-float64(now-p.stamp) / float64(10*time.Second))
		p.cost = rtt*(1-w) + p.cost*w
	}
	p.stamp = now
}

func (p *peak) get(now int64) float64 {
	p.observe(now, 0)
	if p.cost == 0 && p.pending != 0 {
		return float64(math.MaxInt64>>16) + float64(p.pending)
	}
	return p.cost * float64(p.pending+1)
}

func TestPeakEWMAFollowsFinaglesFormula(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	var now int64
	b := newBalancer(t, balancer.PeakEWMA, balancer.Hooks{Now: func() int64 { return now }, Random: random.Uint64})
	b.Update(endpoints(0, 2)) // both are drawn each time
	finagle := map[*balancer.Backend]*peak{b.Backends()[0]: {}, b.Backends()[1]: {}}
	type call struct {
		*request
		start int64
	}
	var calls []call
	finish := func(i int) {
		c := calls[i]
		calls = append(calls[:i], calls[i+1:]...)
		c.Done(health.Success)
		finagle[c.Backend].pending--
		finagle[c.Backend].observe(now, float64(now-c.start))
	}
	compared := 0
	for step := range 20_000 {
		now += int64(random.ExpFloat64() * float64(3*time.Millisecond))
		if len(calls) > 0 && (step < 2 || random.IntN(len(calls)+10) >= 10) {
			finish(random.IntN(len(calls)))
			continue
		}
		x, y := b.Backends()[0], b.Backends()[1]
		got := pick(t, b)
		costX, costY := finagle[x].get(now), finagle[y].get(now)
		want, other := x, y
		if costY < costX {
			want, other = y, x
		}
		if apart := math.Abs(costX-costY) / max(costX, costY, 1); apart > 0.01 && step > 20 { // see one request in flight until the first answer
			compared++
			if got.Backend != want {
				t.Fatalf("step %d: picked the one that costs %v, not the one that costs %v", step, finagle[other].get(now), finagle[want].get(now))
			}
		}
		finagle[got.Backend].pending++
		calls = append(calls, call{got, now})
	}
	if compared < 5000 {
		t.Errorf("only %d picks were comparable", compared)
	}
	for len(calls) > 0 {
		finish(0)
	}
}

func TestEqualBackendsGetEqualShares(t *testing.T) {
	for _, policy := range []string{balancer.Adaptive, balancer.LeastRequest, balancer.Random} {
		inTime(t, balancer.Config{Policy: policy}, 10, func(t *testing.T, b *balancer.Balancer) {
			random := rand.New(rand.NewPCG(3, 3))
			got := map[*balancer.Backend]int{}
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
			for be, n := range got { // σ ≈ 42 by chance alone
				if n < 1700 || n > 2300 {
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
func serve(t testing.TB, b *balancer.Balancer, n int, outcome func(*balancer.Backend) health.Outcome) map[*balancer.Backend]int {
	t.Helper()
	got := map[*balancer.Backend]int{}
	for range n {
		r := pick(t, b)
		got[r.Backend]++
		r.Done(outcome(r.Backend))
	}
	return got
}

func succeed(*balancer.Backend) health.Outcome { return health.Success }

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
		b := newBalancer(t, balancer.Weighted, balancer.Hooks{})
		b.Update(withWeights(weights...))
		sum := 0.0
		for _, be := range b.Backends() {
			sum += float64(be.Weight())
		}
		// Even at any moment: nobody is ever far from the turns that are its due.
		got := map[*balancer.Backend]int{}
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
	b := newBalancer(t, balancer.Weighted, balancer.Hooks{})
	b.Update(endpoints(0, 13))
	for be, n := range serve(t, b, 13*100, succeed) {
		if n != 100 {
			t.Errorf("%v got %d of 1300 requests, want 100", be.Endpoint(), n)
		}
	}
}

// sharesOf returns which part of many requests each backend gets, in the order of
// Backends.
func sharesOf(t testing.TB, b *balancer.Balancer) []float64 {
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
func reporting(t *testing.T, f func(t *testing.T, b *balancer.Balancer, report func(d time.Duration, loads ...balancer.LoadReport))) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newBalancer(t, balancer.Weighted, balancer.Hooks{})
		b.Update(withWeights(1, 1, 1))
		// report lets the backends report for a time, once every 100 ms.
		f(t, b, func(d time.Duration, loads ...balancer.LoadReport) {
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
func load(capacity float64) balancer.LoadReport {
	return balancer.LoadReport{CPUUtilization: 0.5, QPS: capacity / 2}
}

func TestLoadReportsCountAfterTheBlackoutAndUntilTheyExpire(t *testing.T) {
	const third = 1.0 / 3
	reporting(t, func(t *testing.T, b *balancer.Balancer, report func(time.Duration, ...balancer.LoadReport)) {
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
	reporting(t, func(t *testing.T, b *balancer.Balancer, report func(time.Duration, ...balancer.LoadReport)) {
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
	reporting(t, func(t *testing.T, b *balancer.Balancer, report func(time.Duration, ...balancer.LoadReport)) {
		failing := balancer.LoadReport{CPUUtilization: 0.5, QPS: 100, EPS: 50}
		report(12*time.Second, balancer.LoadReport{CPUUtilization: 0.5, QPS: 100}, failing, balancer.LoadReport{ApplicationUtilization: 0.25, CPUUtilization: 0.9, QPS: 100})
		if got := sharesOf(t, b); !near(got, 2.0/7, 1.0/7, 4.0/7) {
			t.Errorf("%v, want shares of 2:1:4", got)
		}
	})
}

func TestLoadReportsThatMakeNoSenseSayNothing(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, bad := range []balancer.LoadReport{
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
		reporting(t, func(t *testing.T, b *balancer.Balancer, report func(time.Duration, ...balancer.LoadReport)) {
			report(12*time.Second, load(100), load(300), bad)
			if got := sharesOf(t, b); !near(got, 1.0/6, 3.0/6, 2.0/6) {
				t.Errorf("%+v: %v, want its backend to have the mean of the others", bad, got)
			}
		})
	}
}

func TestNoLoadReportStarvesTheOthers(t *testing.T) {
	reporting(t, func(t *testing.T, b *balancer.Balancer, report func(time.Duration, ...balancer.LoadReport)) {
		report(12*time.Second, load(1e12), load(100), load(1e-12))
		for i, share := range sharesOf(t, b) {
			if share < 0.02 {
				t.Errorf("the %d. backend has a share of %v", i+1, share)
			}
		}
	})
}

func TestReportsCountAnewAfterAConnectionWasLost(t *testing.T) {
	reporting(t, func(t *testing.T, b *balancer.Balancer, report func(time.Duration, ...balancer.LoadReport)) {
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
		b := newBalancer(t, balancer.Weighted, balancer.Hooks{
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
	b := newBalancer(t, balancer.RoundRobin, balancer.Hooks{AfterFunc: func(time.Duration, func()) { t.Error("a timer was set") }})
	b.Update(endpoints(0, 3))
	for _, be := range b.Backends() {
		be.Report(load(100))
	}
}
