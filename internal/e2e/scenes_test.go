package e2e_test

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
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

// death returns when a pod did die that was to do so at a given time: timers
// run late on a busy machine, and a request sent before was in flight. The
// first connection that breaks tells it.
func death(planned time.Time, results []*result.Result) time.Time {
	var first time.Time
	for _, r := range results {
		for _, f := range r.Failures {
			if end := ended(f); f.Kind == result.Reset && end.After(planned) && (first.IsZero() || end.Before(first)) {
				first = end
			}
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
// had died.
func beyondInFlight(r *result.Result, died time.Time) measure {
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
	died = death(died, results)
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
	if err := command(c.stopAPI); err != nil {
		t.Fatal(err)
	}
	stopped := time.Now()
	if !stopped.Before(died) {
		t.Errorf("the API server took until after the pod's death to stop")
	}
	time.Sleep(20 * time.Second)
	if err := command(c.startAPI); err != nil {
		t.Fatal(err)
	}
	c.awaitAPI(t)
	t.Cleanup(func() { c.replace(t, victim) })
	c.settle()
	results := load.stop(t)
	explain(t, ways, results)
	died = death(died, results)
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

func TestEveryEndpointSliceCounts(t *testing.T) {
	c := needCluster(t)
	c.scale(t, 6)
	pods := c.pods(t)
	manual := make([]way, len(ways))
	for i, w := range ways {
		manual[i] = w.in("manual")
	}
	c.apply(t, manualService("manual", ""), manualService("manual-pods", "None"))
	t.Cleanup(func() { c.must(t, "", "delete", "service", "manual", "manual-pods") })
	putSlices := func(name string, pods []pod) {
		c.apply(t, manualSlice("manual", name, pods), manualSlice("manual-pods", name, pods))
	}
	putSlices("a", pods[0:2])
	putSlices("b", pods[2:4])
	load := startLoad(t, c, "client", manual...)

	// look waits until the change must have reached everybody, then takes
	// note of a time in which it holds.
	type phase struct {
		name     string
		from, to time.Time
		pods     []pod
	}
	var phases []phase
	look := func(name string, pods ...pod) {
		c.settle()
		from := time.Now()
		time.Sleep(2 * time.Second)
		phases = append(phases, phase{name, from, time.Now(), pods})
	}
	look("two", pods[0:4]...)
	putSlices("c", pods[4:6])
	look("three", pods...)
	c.must(t, "", "delete", "endpointslice", "manual-b", "manual-pods-b")
	look("deleted", append(pods[0:2:2], pods[4:6]...)...)
	results := load.stop(t)
	explain(t, manual, results)

	theReport.add(t, "two slices, three, one deleted: all and only their endpoints", "yes", manual, each(manual, results, func(_ way, r *result.Result) measure {
		m := measure{text: "yes", judged: true}
		var problems []string
		for _, p := range phases {
			used, _ := r.Between(p.from, p.to)
			missing := 0
			for _, pod := range p.pods {
				if used[pod.Metadata.Name] == 0 {
					missing++
				}
				delete(used, pod.Metadata.Name)
			}
			if missing > 0 || len(used) > 0 {
				problems = append(problems, fmt.Sprintf("%s: %d missing, %d extra", p.name, missing, len(used)))
			}
		}
		if len(problems) > 0 {
			m.value, m.text = 1, "no ("+strings.Join(problems, "; ")+")"
		}
		return m.and(r.Failed, "failed")
	}))
}

// manualService is a Service without a selector: its slices are written by hand.
func manualService(name, clusterIP string) any {
	port := func(name string, port, target int) any {
		return map[string]any{"name": name, "port": port, "targetPort": target}
	}
	return map[string]any{
		"apiVersion": "v1", "kind": "Service",
		"metadata": map[string]any{"name": name, "namespace": namespace},
		"spec":     map[string]any{"clusterIP": clusterIP, "ports": []any{port("http", 80, 8080), port("grpc", 9090, 9090)}},
	}
}

func manualSlice(service, name string, pods []pod) any {
	var endpoints []any
	for _, p := range pods {
		endpoints = append(endpoints, map[string]any{
			"addresses":  []string{p.Status.PodIP},
			"conditions": map[string]any{"ready": true},
			"targetRef":  map[string]any{"kind": "Pod", "namespace": namespace, "name": p.Metadata.Name, "uid": p.Metadata.UID},
		})
	}
	return map[string]any{
		"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
		"metadata": map[string]any{
			"name": service + "-" + name, "namespace": namespace,
			"labels": map[string]any{"kubernetes.io/service-name": service, "endpointslice.kubernetes.io/managed-by": "sidestep-e2e"},
		},
		"ports":     []any{map[string]any{"name": "http", "port": 8080}, map[string]any{"name": "grpc", "port": 9090}},
		"endpoints": endpoints,
	}
}

func TestWithoutTheRoleDNSServes(t *testing.T) {
	c := needCluster(t)
	c.scale(t, 3)
	k8s := ways[:2]
	results := startLoad(t, c, "default", k8s...).stop(t)
	theReport.add(t, "no Role: failed requests", "0", k8s, each(k8s, results, func(_ way, r *result.Result) measure {
		return measure{value: float64(r.Failed), text: fmt.Sprintf("%d of %d", r.Failed, r.Requests), judged: true}
	}))
}

func TestMissingRoleIsPrinted(t *testing.T) {
	c := needCluster(t)
	c.scale(t, 3)
	api := slices.Clone(ways[:2])
	for i := range api {
		api[i].title, api[i].via = api[i].title+" without fall-back", "api"
	}
	results := startLoad(t, c, "default", api...).stop(t)
	for i, r := range results {
		if r.Failed == 0 || r.Failed < r.Requests {
			t.Errorf("%s: %d of %d requests failed without a Role", api[i].title, r.Failed, r.Requests)
		}
		for kind, k := range r.Kinds {
			t.Logf("%s: %d: %s: %s", api[i].title, k.Count, kind, k.First)
		}
		var text string
		for _, f := range r.Failures {
			text = cmp.Or(text, f.Text)
		}
		for _, want := range []string{"403", "kind: Role", "endpointslices", namespace} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: the error does not say %q: %s", api[i].title, want, text)
			}
		}
	}
}
