package e2e_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sidestep-lb/sidestep/examples/client/result"
)

// each makes a measure of every result.
func each(of []way, results []*result.Result, f func(way, *result.Result) measure) []measure {
	measures := make([]measure, len(of))
	for i, w := range of {
		measures[i] = f(w, results[i])
	}
	return measures
}

// limit is the time in which a way must see a change: TTL + 1 s where it sees
// it through DNS.
func (c *cluster) limit(w way, pushed time.Duration) time.Duration {
	if w.headless() {
		return c.dnsTTL + time.Second
	}
	return pushed
}

// settle is how long a scene goes on after its change, so that the slowest way
// has had its time.
func (c *cluster) settle() { time.Sleep(c.dnsTTL + 3*time.Second) }

func TestSteadyLoadIsSharedEvenly(t *testing.T) {
	c := needCluster(t)
	c.scale(t, 3)
	load := startLoad(t, c, "client", ways...)
	start := time.Now()
	time.Sleep(10 * time.Second)
	end := time.Now()
	results := load.stop(t)
	explain(t, ways, results)
	theReport.add(t, "steady: largest share / mean", "<= 1.05", ways, each(ways, results, func(_ way, r *result.Result) measure {
		pods, _ := r.Between(start, end)
		largest, sum := 0, 0
		for _, n := range pods {
			largest, sum = max(largest, n), sum+n
		}
		share := 3 * float64(largest) / float64(max(sum, 1))
		return measure{value: share, text: fmt.Sprintf("%.3f", share), wanted: 1.05, fatal: 1.15, judged: true}.and(r.Failed, "failed")
	}))
	theReport.add(t, "steady: requests sent per second", "", ways, each(ways, results, func(_ way, r *result.Result) measure {
		return measure{text: fmt.Sprintf("%.1f", r.Rate)}
	}))
	theReport.add(t, "steady: latency p50, p99 in ms", "", ways, each(ways, results, func(_ way, r *result.Result) measure {
		return measure{text: fmt.Sprintf("%.1f, %.1f", r.Latency.P50, r.Latency.P99)}
	}))
}

func TestScaleUpIsUsed(t *testing.T) {
	c := needCluster(t)
	c.scale(t, 3)
	old := make(map[string]bool)
	for _, p := range c.pods(t) {
		old[p.Metadata.Name] = true
	}
	slices := watchSlices(t, c)
	load := startLoad(t, c, "client", ways...)
	scaled := time.Now()
	c.scale(t, 6)
	c.settle()
	results := load.stop(t)
	explain(t, ways, results)
	theReport.add(t, "scale 3 to 6: first request after ready", "<= 1 s, TTL + 1 s", ways, each(ways, results, func(w way, r *result.Result) measure {
		slowest := time.Duration(0)
		for _, p := range c.pods(t) {
			name := p.Metadata.Name
			if old[name] {
				continue
			}
			ready := slices.when(t, name+" ready", w.service, scaled, podReady(name, true))
			first := never
			if used, ok := r.Pods[name]; ok {
				first = used.First.Sub(ready)
			}
			slowest = max(slowest, first)
		}
		return within(slowest, c.limit(w, time.Second)).and(r.Failed, "failed")
	}))
}

func TestRollingRestartFailsNoRequest(t *testing.T) {
	c := needCluster(t)
	c.scale(t, 3)
	load := startLoad(t, c, "client", ways...)
	c.must(t, "", "rollout", "restart", "deployment/quiz")
	c.must(t, "", "rollout", "status", "deployment/quiz", "--timeout=2m")
	c.settle()
	results := load.stop(t)
	explain(t, ways, results)
	theReport.add(t, "rollout restart: failed requests", "0", ways, each(ways, results, func(_ way, r *result.Result) measure {
		return none(r.Failed, fmt.Sprintf(" of %d", r.Requests))
	}))
}

func TestPodThatIsNoLongerReadyGetsNoMoreRequests(t *testing.T) {
	c := needCluster(t)
	c.scale(t, 3)
	victim := c.pods(t)[0].Metadata.Name
	slices := watchSlices(t, c)
	load := startLoad(t, c, "client", ways...)
	turned := time.Now()
	c.turn(t, victim, url.Values{"ready": {"false"}})
	t.Cleanup(func() { c.turn(t, victim, url.Values{"ready": {"true"}}) })
	for _, service := range []string{"quiz", "quiz-pods"} {
		slices.when(t, victim+" not ready", service, turned, podReady(victim, false))
	}
	c.settle()
	results := load.stop(t)
	explain(t, ways, results)
	theReport.add(t, "readiness off: last request after its slice changed", "<= 0.2 s, TTL + 1 s", ways, each(ways, results, func(w way, r *result.Result) measure {
		left := slices.when(t, victim+" not ready", w.service, turned, podReady(victim, false))
		last := r.Pods[victim].Last.Sub(left)
		m := within(last, c.limit(w, 200*time.Millisecond)).and(r.Failed, "failed")
		if r.Ended.Sub(r.Pods[victim].Last) < time.Second {
			m.text += " (to the end)"
		}
		return m
	}))
}

// death returns when a pod did die, for one client, that was to do so at a given
// time: timers run late on a busy machine, and a request sent before was in
// flight. The first connection that breaks tells it.
func death(planned time.Time, r *result.Result) time.Time {
	var first time.Time
	for _, f := range r.Failures {
		if end := ended(f); f.Kind == result.Reset && end.After(planned) && (first.IsZero() || end.Before(first)) {
			first = end
		}
	}
	if first.IsZero() || first.Sub(planned) > time.Second {
		return planned
	}
	return first
}

func ended(f result.Failure) time.Time {
	return f.Sent.Add(time.Duration(f.Took * float64(time.Millisecond)))
}

// beyondInFlight measures the failures of requests that were sent after a pod
// had died, which was to be at a given time.
func beyondInFlight(r *result.Result, planned time.Time) measure {
	died := death(planned, r)
	inFlight := 0
	for _, f := range r.Failures {
		if f.Sent.Before(died) {
			inFlight++
		}
	}
	return none(r.Failed-inFlight, fmt.Sprintf(" (%d in flight)", inFlight))
}

func TestPodThatDiesFailsOnlyWhatItHad(t *testing.T) {
	c := needCluster(t)
	c.scale(t, 3)
	victim := c.pods(t)[0].Metadata.Name
	load := startLoad(t, c, "client", ways...)
	// With requests that take a while, there are some in flight. The kubelet
	// would still send SIGTERM first, and wait: the knob makes it a real death.
	died := c.turn(t, victim, url.Values{"delay": {"50ms"}, "die": {"1s"}})
	time.Sleep(time.Until(died))
	c.must(t, "", "delete", "pod", victim, "--grace-period=0", "--force")
	c.settle()
	results := load.stop(t)
	explain(t, ways, results)
	theReport.add(t, "pod deleted with no grace: failed beyond those in flight", "0", ways, each(ways, results, func(_ way, r *result.Result) measure {
		return beyondInFlight(r, died)
	}))
}

func TestOutageOfTheAPIServerIsSurvived(t *testing.T) {
	c := needCluster(t)
	if c.stopAPI == "" || c.startAPI == "" {
		t.Skip("SIDESTEP_E2E_APISERVER_STOP and SIDESTEP_E2E_APISERVER_START are not set")
	}
	c.scale(t, 3)
	victim := c.pods(t)[0].Metadata.Name
	load := startLoad(t, c, "client", ways...)
	died := c.turn(t, victim, url.Values{"delay": {"50ms"}, "die": {"8s"}})
	if _, err := command(c.stopAPI); err != nil {
		t.Fatal(err)
	}
	stopped := time.Now()
	if !stopped.Before(died) {
		t.Errorf("the API server took until after the pod's death to stop")
	}
	time.Sleep(20 * time.Second)
	if _, err := command(c.startAPI); err != nil {
		t.Fatal(err)
	}
	c.awaitAPI(t)
	t.Cleanup(func() { c.replace(t, victim) })
	c.settle()
	results := load.stop(t)
	explain(t, ways, results)
	theReport.add(t, "API server down for 20 s, a pod dies: failed beyond those in flight", "0, -", ways, each(ways, results, func(w way, r *result.Result) measure {
		m := beyondInFlight(r, died)
		m.judged = !w.headless()
		return m
	}))
}

func TestScaleToZeroAndBack(t *testing.T) {
	c := needCluster(t)
	c.scale(t, 3)
	slices := watchSlices(t, c)
	load := startLoad(t, c, "client", ways...)
	down := time.Now()
	c.scale(t, 0)
	c.settle()
	up := time.Now()
	c.scale(t, 3)
	c.settle()
	results := load.stop(t)
	explain(t, ways, results)
	theReport.add(t, "scale to zero: a clear error that names the Service", "<= 1 s, TTL + 1 s", ways, each(ways, results, func(w way, r *result.Result) measure {
		gone := slices.when(t, "no endpoint", w.service, down, noneUsable)
		told := never
		for _, f := range r.Failures {
			if f.Kind == result.NoEndpoints && strings.Contains(f.Text, w.service+"."+namespace) {
				told = ended(f).Sub(gone)
				break
			}
		}
		return within(told, c.limit(w, time.Second))
	}))
	theReport.add(t, "scaled up again: first request after ready", "<= 1 s, TTL + 1 s", ways, each(ways, results, func(w way, r *result.Result) measure {
		ready := slices.when(t, "an endpoint", w.service, up, func(endpoints map[string]endpoint) bool { return !noneUsable(endpoints) })
		served := never
		for _, p := range r.Pods {
			if p.Last.After(up) {
				served = min(served, p.First.Sub(ready))
			}
		}
		return within(served, c.limit(w, time.Second))
	}))
}
