package e2e_test

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sidestep-lb/sidestep/examples/client/result"
)

// In the scenes of this file nothing is broken: healthy pods are replaced, or
// more of them come, while those that are there have a lot to do. Each way has
// pods of its own, whose capacity is known, and one client, which also holds a
// subscription open: a stream on which the pod is silent.
const (
	// podWorkers, each busy for podDemand per request, are what a pod can do. The
	// demand is a mean: it is exponentially distributed, so that the p99 of a
	// healthy pod is several times larger than what else happens on the machine.
	podWorkers = 4
	podDemand  = 40 * time.Millisecond
	podRate    = podWorkers * int(time.Second/podDemand) // requests per second

	rolloutPods = 6
	rolloutLoad = 0.7 // of what the pods can do
	rolloutCalm = 15 * time.Second

	overloadFrom, overloadTo = 2, 4 // pods
	overload                 = 1.5  // of what the first ones can do
	overloadCalm             = 5 * time.Second
	overloadAfter            = 12 * time.Second
)

// ordinaryWays are the columns: sidestep's, then its peers. A ClusterIP is tried
// over HTTP: over gRPC it would lead all requests to one pod.
var ordinaryWays = []way{
	{title: "gRPC adaptive", protocol: "grpc", via: "k8s", service: "quiz", target: "%s.kiada:grpc", policy: "adaptive", subscribe: true},
	{title: "gRPC round_robin", protocol: "grpc", via: "k8s", service: "quiz", target: "%s.kiada:grpc", policy: "round_robin", subscribe: true},
	{title: "gRPC least_request", protocol: "grpc", via: "k8s", service: "quiz", target: "%s.kiada:grpc", policy: "least_request", subscribe: true},
	{title: "HTTP adaptive", protocol: "http", via: "k8s", service: "quiz", target: "http://%s.kiada/questions", policy: "adaptive", subscribe: true},
	{title: "kuberesolver + round_robin", protocol: "grpc", via: "kuberesolver", service: "quiz", target: "%s.kiada:grpc", program: "kuberesolver", subscribe: true},
	{title: "HTTP ClusterIP", protocol: "http", via: "clusterip", service: "quiz", target: "http://%s.kiada/questions", subscribe: true},
}

var ordinaryReport = &report{
	caption: fmt.Sprintf(`Nothing is broken: each way has pods of its own, of %d workers that take %v for a request, exponentially distributed, and one
client, which has a silent stream open throughout. The rollouts: %d pods, %.0f %% of what they can do, maxSurge 1, compared with the %v
before. The scale-ups: %g times what %d pods can do, for %v and until there are %d, and for %v after. Two ways at the same
time. The best peer is the better one of the last two columns.`,
		podWorkers, podDemand, rolloutPods, 100*rolloutLoad, rolloutCalm, overload, overloadFrom, overloadCalm, overloadTo, overloadAfter),
	columns: ordinaryWays,
}

// together says which ways are tried at the same time: two, for which a machine
// of two processors suffices, one after the other.
var together = [][]int{{0, 4}, {1, 5}, {2, 3}}

func TestOrdinaryLifeUnderLoad(t *testing.T) {
	c := needCluster(t)
	needTime(t, 10*time.Minute)
	c.scale(t, 0)
	t.Cleanup(func() { c.scale(t, 3) })
	names := c.capable(t, len(together[0]), rolloutPods)
	t.Run("rollout", func(t *testing.T) { rolloutUnderLoad(t, c, names) })
	c.scaleCapable(t, names, overloadFrom)
	t.Run("scale-up", func(t *testing.T) { scaleUpOverloaded(t, c, names) })
}

// startTogether starts the clients of some ways, each at its own Service.
func startTogether(t *testing.T, c *cluster, columns []int, names []string, share float64, pods int) (*load, []way) {
	t.Helper()
	of := make([]way, len(columns))
	for i, column := range columns {
		of[i] = ordinaryWays[column].in(names[i])
	}
	return startLoadAt(t, c, int(math.Round(share*float64(pods*podRate))), of...), of
}

// An episode is what one way went through.
type episode struct {
	began, ended time.Time
	result       *result.Result
}

func rolloutUnderLoad(t *testing.T, c *cluster, names []string) {
	episodes := make([]episode, len(ordinaryWays))
	for _, columns := range together {
		load, of := startTogether(t, c, columns, names, rolloutLoad, rolloutPods)
		time.Sleep(rolloutCalm)
		var rollouts sync.WaitGroup
		for i, column := range columns {
			rollouts.Go(func() {
				episodes[column].began = time.Now()
				c.tryAll(t, []string{"rollout", "restart", "deployment/" + names[i]}, rolledOut(names[i]))
				episodes[column].ended = time.Now().Add(2 * time.Second) // the last of the old pods has yet to leave
			})
		}
		rollouts.Wait()
		time.Sleep(3 * time.Second)
		results := load.stop(t)
		explain(t, of, results)
		for i, column := range columns {
			episodes[column].result = results[i]
		}
	}
	showRollout(t, episodes)
}

// addEpisodes adds a row.
func addEpisodes(t *testing.T, scene, target string, episodes []episode, f func(episode) measure) {
	t.Helper()
	measures := make([]measure, len(episodes))
	for i, e := range episodes {
		measures[i] = f(e)
	}
	ordinaryReport.add(t, scene, target, ordinaryWays, measures)
}

// before and during are the latencies of a rollout, and times is how many times
// as large its p99 is.
func (e episode) before() result.Latency {
	return e.result.LatencyBetween(e.began.Add(-rolloutCalm), e.began)
}

func (e episode) during() result.Latency { return e.result.LatencyBetween(e.began, e.ended) }

func (e episode) times() float64 { return e.during().P99 / max(e.before().P99, 0.001) }

// showRollout adds the rows of the rollouts.
func showRollout(t *testing.T, episodes []episode) {
	t.Helper()
	const scene = "rollout at 70 %: "
	best := math.Inf(1) // of the peers
	for i, w := range ordinaryWays {
		if !w.sidestep() {
			best = min(best, episodes[i].times())
		}
	}
	addEpisodes(t, scene+"p50, p99, p99.9 before, ms", "", episodes, func(e episode) measure {
		return measure{text: percentiles(e.before())}
	})
	target := fmt.Sprintf("p99 <= 1.2x, best peer %.2fx", best)
	addEpisodes(t, scene+"the same in the rollout", target, episodes, func(e episode) measure {
		text := fmt.Sprintf("%s, %.2fx", percentiles(e.during()), e.times())
		return measure{value: e.times(), text: text, wanted: min(1.2, best), fatal: 2 * max(1.2, best), judged: true}
	})
	addEpisodes(t, scene+"failed", "0", episodes, func(e episode) measure {
		pods, failed := e.result.Between(e.began, e.ended)
		all := sum(pods) + failed
		m := none(failed, fmt.Sprintf(" of %d", all))
		m.fatal = 0.001 * float64(all)
		return m
	})
	addEpisodes(t, scene+"its length; subscriptions opened", "", episodes, func(e episode) measure {
		return measure{text: fmt.Sprintf("%.0f s; %d", e.ended.Sub(e.began).Seconds(), e.result.Subscriptions)}
	})
}

func scaleUpOverloaded(t *testing.T, c *cluster, names []string) {
	episodes := make([]episode, len(ordinaryWays))
	slices := watchSlices(t, c)
	for round, columns := range together {
		if round > 0 {
			c.scaleCapable(t, names, overloadFrom)
		}
		load, of := startTogether(t, c, columns, names, overload, overloadFrom)
		time.Sleep(overloadCalm)
		scaled := time.Now()
		c.scaleCapable(t, names, overloadTo)
		for i, column := range columns {
			began := slices.when(t, "all pods ready", names[i], scaled, func(endpoints map[string]endpoint) bool {
				return usable(endpoints) == overloadTo
			})
			episodes[column].began, episodes[column].ended = began, began.Add(overloadAfter)
			t.Logf("%s: %d pods were ready after %.1f s", of[i].title, overloadTo, began.Sub(scaled).Seconds())
		}
		for _, column := range columns {
			time.Sleep(time.Until(episodes[column].ended.Add(2 * time.Second))) // a request takes no longer
		}
		results := load.stop(t)
		explain(t, of, results)
		for i, column := range columns {
			episodes[column].result = results[i]
		}
	}
	showScaleUp(t, episodes)
}

func usable(endpoints map[string]endpoint) int {
	n := 0
	for _, e := range endpoints {
		if e.usable() {
			n++
		}
	}
	return n
}

// showScaleUp adds the rows of the scale-ups.
func showScaleUp(t *testing.T, episodes []episode) {
	t.Helper()
	const scene = "2 pods to 4 at 1.5 times what 2 can do: "
	bestShare, bestTime := math.Inf(1), time.Duration(math.MaxInt64)
	for i, w := range ordinaryWays {
		if e := episodes[i]; !w.sidestep() {
			bestShare, bestTime = min(bestShare, e.failedShare()), min(bestTime, e.recovery())
		}
	}
	addEpisodes(t, scene+"failed before", "", episodes, func(e episode) measure {
		return measure{text: fmt.Sprintf("%.1f %%", 100*failedShare(e.result, e.began.Add(-overloadCalm), e.began))}
	})
	addEpisodes(t, scene+"failed once 4 were ready", "<= best peer", episodes, func(e episode) measure {
		share := e.failedShare()
		return measure{value: share, text: fmt.Sprintf("%.2f %%", 100*share), wanted: bestShare, fatal: 2*bestShare + 0.05, judged: true}
	})
	addEpisodes(t, scene+"time until under 1 %", "<= best peer", episodes, func(e episode) measure {
		m := within(e.recovery(), bestTime)
		if m.fatal = 2*bestTime.Seconds() + 3; e.recovery() >= overloadAfter {
			m.text = "not by the end"
		}
		return m
	})
	addEpisodes(t, scene+"p50, p99, p99.9 in the last 5 s, ms", "", episodes, func(e episode) measure {
		return measure{text: percentiles(e.result.LatencyBetween(e.ended.Add(-5*time.Second), e.ended))}
	})
	addEpisodes(t, scene+"subscriptions opened", "", episodes, func(e episode) measure {
		return measure{text: fmt.Sprint(e.result.Subscriptions)}
	})
}

// failedShare returns the share of the requests sent between two times that
// failed.
func failedShare(r *result.Result, from, to time.Time) float64 {
	pods, failed := r.Between(from, to)
	return float64(failed) / float64(max(sum(pods)+failed, 1))
}

func (e episode) failedShare() float64 { return failedShare(e.result, e.began, e.ended) }

// recovery returns the time until the end of the last second in which 1 % of the
// requests failed.
func (e episode) recovery() time.Duration {
	var last time.Duration
	for at := e.began; at.Before(e.ended); at = at.Add(result.Resolution) {
		if to := at.Add(time.Second); failedShare(e.result, at, to) >= 0.01 {
			last = min(to.Sub(e.began), e.ended.Sub(e.began))
		}
	}
	return last
}

// capable makes Services and Deployments of the server with a known capacity, and
// returns their names when so many pods of each are ready.
func (c *cluster) capable(t *testing.T, deployments, pods int) []string {
	t.Helper()
	var names []string
	var objects []any
	for i := range deployments {
		name := fmt.Sprintf("busy-%d", i)
		names = append(names, name)
		objects = append(objects, c.capableDeployment(t, name, pods), map[string]any{
			"apiVersion": "v1", "kind": "Service",
			"metadata": map[string]any{"name": name, "namespace": namespace},
			"spec": map[string]any{"selector": map[string]any{"app": name}, "ports": []any{
				map[string]any{"name": "http", "port": 80, "targetPort": 8080},
				map[string]any{"name": "grpc", "port": 9090, "targetPort": 9090},
			}},
		})
	}
	t.Cleanup(func() {
		for _, name := range names {
			c.must(t, "", "delete", "deployment,service", name, "--wait=false", "--ignore-not-found")
		}
		c.must(t, "", "wait", "pods", "-l", "app in ("+strings.Join(names, ",")+")", "--for=delete", "--timeout=1m")
	})
	c.apply(t, objects...)
	for _, name := range names {
		c.must(t, "", rolledOut(name)...)
	}
	return names
}

// scaleCapable returns when so many pods of each Deployment are ready.
func (c *cluster) scaleCapable(t *testing.T, names []string, pods int) {
	t.Helper()
	c.must(t, "", append([]string{"scale", "--replicas=" + fmt.Sprint(pods), "deployment"}, names...)...)
	for _, name := range names {
		c.must(t, "", rolledOut(name)...)
	}
}

// capableDeployment is that of the server with other arguments.
func (c *cluster) capableDeployment(t *testing.T, name string, pods int) any {
	t.Helper()
	var deployment struct {
		Spec struct{ Template struct{ Spec map[string]any } }
	}
	if err := json.Unmarshal(c.must(t, "", "get", "deployment", "quiz", "-o", "json"), &deployment); err != nil {
		t.Fatal(err)
	}
	spec := deployment.Spec.Template.Spec
	spec["containers"].([]any)[0].(map[string]any)["args"] = []any{
		fmt.Sprintf("-workers=%d", podWorkers), fmt.Sprintf("-delay=%v", podDemand), "-exponential",
	}
	labels := map[string]any{"app": name}
	return map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment",
		"metadata": map[string]any{"name": name, "namespace": namespace},
		"spec": map[string]any{
			"replicas": pods,
			"selector": map[string]any{"matchLabels": labels},
			"strategy": map[string]any{"rollingUpdate": map[string]any{"maxSurge": 1, "maxUnavailable": 0}},
			"template": map[string]any{"metadata": map[string]any{"labels": labels}, "spec": spec},
		},
	}
}

// rolledOut are the arguments for kubectl to wait for a Deployment.
func rolledOut(name string) []string {
	return []string{"rollout", "status", "deployment/" + name, "--timeout=2m"}
}

// tryAll runs kubectl several times, until it fails. Unlike must it may be called
// in any goroutine.
func (c *cluster) tryAll(t *testing.T, commands ...[]string) {
	t.Helper()
	for _, args := range commands {
		if _, err := c.kubectl("", append([]string{"-n", namespace}, args...)...); err != nil {
			t.Error(err)
			return
		}
	}
}
