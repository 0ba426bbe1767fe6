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
	overloadCalm             = 6 * time.Second
	overloadAfter            = 20 * time.Second
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
before, two ways at the same time. The scale-ups: %g times what %d pods can do, %v before there are %d, all ways at the same time; they
are watched until %v after. The best peer is the better one of the last two columns.`,
		podWorkers, podDemand, rolloutPods, 100*rolloutLoad, rolloutCalm, overload, overloadFrom, overloadCalm, overloadTo, overloadAfter),
	columns: ordinaryWays,
}

// rolloutTogether says which ways have their rollouts at the same time.
var rolloutTogether = [][]int{{0, 4}, {1, 5}, {2, 3}}

func TestOrdinaryLifeUnderLoad(t *testing.T) {
	c := needCluster(t)
	c.scale(t, 0)
	t.Cleanup(func() { c.scale(t, 3) })
	t.Run("rollout", func(t *testing.T) { rolloutUnderLoad(t, c) })
	t.Run("scale-up", func(t *testing.T) { scaleUpOverloaded(t, c) })
}

// A restart is the rollout of one way's pods.
type restart struct {
	began, ended time.Time
	result       *result.Result
}

func rolloutUnderLoad(t *testing.T, c *cluster) {
	restarts := make([]restart, len(ordinaryWays))
	names := c.capable(t, len(rolloutTogether[0]), rolloutPods)
	for _, together := range rolloutTogether {
		of := make([]way, len(together))
		for i, column := range together {
			of[i] = ordinaryWays[column].in(names[i])
		}
		load := startLoadAt(t, c, int(math.Round(rolloutLoad*rolloutPods*float64(podRate))), of...)
		time.Sleep(rolloutCalm)
		var rollouts sync.WaitGroup
		for i, column := range together {
			rollouts.Go(func() {
				restarts[column].began = time.Now()
				c.tryAll(t, []string{"rollout", "restart", "deployment/" + names[i]}, rolledOut(names[i]))
				restarts[column].ended = time.Now().Add(2 * time.Second) // the last of the old pods has yet to leave
			})
		}
		rollouts.Wait()
		time.Sleep(3 * time.Second)
		results := load.stop(t)
		explain(t, of, results)
		for i, column := range together {
			restarts[column].result = results[i]
		}
	}
	showRollout(t, restarts)
}

// showRollout adds the rows of the rollouts.
func showRollout(t *testing.T, restarts []restart) {
	t.Helper()
	row := func(scene, target string, f func(w way, rs restart) measure) {
		t.Helper()
		measures := make([]measure, len(restarts))
		for i, w := range ordinaryWays {
			measures[i] = f(w, restarts[i])
		}
		ordinaryReport.add(t, scene, target, ordinaryWays, measures)
	}
	before := func(rs restart) result.Latency {
		return rs.result.LatencyBetween(rs.began.Add(-rolloutCalm), rs.began)
	}
	during := func(rs restart) result.Latency { return rs.result.LatencyBetween(rs.began, rs.ended) }
	times := func(rs restart) float64 { return during(rs).P99 / max(before(rs).P99, 0.001) }
	best := math.Inf(1) // of the peers
	for i, w := range ordinaryWays {
		if !w.sidestep() {
			best = min(best, times(restarts[i]))
		}
	}
	row("rollout at 70 %: p50, p99, p99.9 before, ms", "", func(_ way, rs restart) measure {
		return measure{text: percentiles(before(rs))}
	})
	row("rollout at 70 %: the same in the rollout", fmt.Sprintf("p99 <= 1.2x, best peer %.2fx", best), func(_ way, rs restart) measure {
		text := fmt.Sprintf("%s, %.2fx", percentiles(during(rs)), times(rs))
		return measure{value: times(rs), text: text, wanted: min(1.2, best), fatal: 2 * max(1.2, best), judged: true}
	})
	row("rollout at 70 %: failed", "0", func(_ way, rs restart) measure {
		pods, failed := rs.result.Between(rs.began, rs.ended)
		all := sum(pods) + failed
		m := none(failed, fmt.Sprintf(" of %d", all))
		m.fatal = 0.001 * float64(all)
		return m
	})
	row("rollout at 70 %: its length; subscriptions opened", "", func(_ way, rs restart) measure {
		return measure{text: fmt.Sprintf("%.0f s; %d", rs.ended.Sub(rs.began).Seconds(), rs.result.Subscriptions)}
	})
}

func scaleUpOverloaded(t *testing.T, c *cluster) {
	names := c.capable(t, len(ordinaryWays), overloadFrom)
	of := make([]way, len(ordinaryWays))
	for i, w := range ordinaryWays {
		of[i] = w.in(names[i])
	}
	load := startLoadAt(t, c, int(math.Round(overload*overloadFrom*float64(podRate))), of...)
	time.Sleep(overloadCalm)
	began := time.Now()
	scale := []string{"scale", fmt.Sprintf("--replicas=%d", overloadTo)}
	for _, name := range names {
		scale = append(scale, "deployment/"+name)
	}
	c.must(t, "", scale...)
	for _, name := range names {
		c.must(t, "", rolledOut(name)...)
	}
	ready := time.Now()
	time.Sleep(time.Until(began.Add(overloadAfter)))
	ended := time.Now()
	results := load.stop(t)
	explain(t, of, results)
	t.Logf("the pods were ready after %.1f s", ready.Sub(began).Seconds())
	showScaleUp(t, results, began, ended)
}

// showScaleUp adds the rows of the scale-ups.
func showScaleUp(t *testing.T, results []*result.Result, began, ended time.Time) {
	t.Helper()
	share := func(r *result.Result) float64 { return failedShare(r, began, ended) }
	bestShare, bestTime := math.Inf(1), time.Duration(math.MaxInt64)
	for i, w := range ordinaryWays {
		if !w.sidestep() {
			bestShare = min(bestShare, share(results[i]))
			bestTime = min(bestTime, recovery(results[i], began, ended))
		}
	}
	const scene = "2 pods to 4 at 1.5 times what 2 can do: "
	ordinaryReport.add(t, scene+"failed before", "", ordinaryWays, each(ordinaryWays, results, func(_ way, r *result.Result) measure {
		return measure{text: fmt.Sprintf("%.1f %%", 100*failedShare(r, began.Add(-overloadCalm), began))}
	}))
	ordinaryReport.add(t, scene+"failed after", "<= best peer", ordinaryWays, each(ordinaryWays, results, func(_ way, r *result.Result) measure {
		return measure{value: share(r), text: fmt.Sprintf("%.1f %%", 100*share(r)), wanted: bestShare, fatal: 2*bestShare + 0.05, judged: true}
	}))
	ordinaryReport.add(t, scene+"time until under 1 %", "<= best peer", ordinaryWays, each(ordinaryWays, results, func(_ way, r *result.Result) measure {
		m := within(recovery(r, began, ended), bestTime)
		if m.fatal = 2*bestTime.Seconds() + 3; m.value >= ended.Sub(began).Seconds() {
			m.text = "not by the end"
		}
		return m
	}))
	ordinaryReport.add(t, scene+"p50, p99, p99.9 in the last 5 s, ms", "", ordinaryWays, each(ordinaryWays, results, func(_ way, r *result.Result) measure {
		return measure{text: percentiles(r.LatencyBetween(ended.Add(-5*time.Second), ended))}
	}))
}

// failedShare returns the share of the requests sent between two times that
// failed.
func failedShare(r *result.Result, from, to time.Time) float64 {
	pods, failed := r.Between(from, to)
	return float64(failed) / float64(max(sum(pods)+failed, 1))
}

// recovery returns the time from began until the end of the last second in which
// 1 % of the requests failed. What was sent in the last 2 s may not have ended.
func recovery(r *result.Result, began, ended time.Time) time.Duration {
	var last time.Duration
	for at := began; at.Before(ended); at = at.Add(result.Resolution) {
		if to := at.Add(time.Second); failedShare(r, at, to) >= 0.01 {
			last = to.Sub(began)
		}
	}
	return last
}

// capable makes Services and Deployments of the server with a known capacity, and
// returns their names when so many pods of each are ready, and no other is left.
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

// capableDeployment is the Deployment of the server with other arguments, without
// a wait for readiness that would be longer than a rollout of quiz has.
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
