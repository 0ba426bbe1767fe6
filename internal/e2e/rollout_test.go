package e2e_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/sidestep-lb/sidestep/examples/client/result"
)

// The scenes of this file are those of a contest in which pods come and go.

func (c contest) scaleUp(t *testing.T) {
	cl := needCluster(t)
	cl.scale(t, 3)
	p := c.passage(t, cl, c.peers(), c.rate, 0, c.patient, func() { cl.scale(t, 10) })
	c.showPassage(t, "scale 3 to 10", p)
}

// rollouts are two. The pods that leave in the first have no preStop hook; those
// that come have one, since the second wants it of those that leave.
func (c contest) rollouts(t *testing.T) {
	cl := needCluster(t)
	cl.scale(t, 3)
	t.Cleanup(func() { cl.removeHook(t) })
	addHook := func() {
		cl.must(t, "", "patch", "deployment", "quiz", "--patch-file", "testdata/prestop.yaml")
		cl.scale(t, 3)
	}
	p := c.passage(t, cl, c.peers(), c.rolloutRate, c.calm, 0, addHook)
	c.showSteady(t, p)
	c.showPassage(t, "rollout", p)
	p = c.passage(t, cl, c.peers(), c.rolloutRate, c.calm, 0, func() { cl.removeHook(t) })
	c.showPassage(t, "rollout, preStop sleep 5 s", p)
}

// removeHook returns when no pod has the hook any more.
func (c *cluster) removeHook(t *testing.T) {
	t.Helper()
	c.must(t, "", "patch", "deployment", "quiz", "-p", `{"spec":{"template":{"spec":{"containers":[{"name":"server","lifecycle":null}]}}}}`)
	c.scale(t, 3)
}

// A passage is a run in which some pods come, and others may leave.
type passage struct {
	of             []way
	started, began time.Time
	old, now       []pod
	slices         *sliceWatch
	proxyCPU       map[string]time.Duration // from started to began, by the title of the way
	results        []*result.Result
}

// passage runs a load that is calm for a while before the change, and goes on
// for a while after it.
func (c contest) passage(t *testing.T, cl *cluster, of []way, rate int, calm, patient time.Duration, change func()) passage {
	t.Helper()
	p := passage{of: of, old: cl.pods(t), slices: watchSlices(t, cl)}
	load := c.start(t, cl, of, rate)
	p.started, p.proxyCPU = time.Now(), load.proxyCPU(t)
	time.Sleep(calm)
	p.began = time.Now()
	for title, used := range load.proxyCPU(t) {
		p.proxyCPU[title] = used - p.proxyCPU[title]
	}
	change()
	p.now = cl.pods(t)
	cl.settle()
	time.Sleep(time.Until(p.began.Add(patient)))
	p.results = load.stop(t)
	return p
}

// showSteady adds the rows about the time before the change.
func (c contest) showSteady(t *testing.T, p passage) {
	t.Helper()
	c.row(t, "steady: largest share of a pod / mean", p.of, p.results, func(_ way, r *result.Result) string {
		return fmt.Sprintf("%.2f", unevenness(r, p.started, p.began, len(p.old)))
	})
	c.row(t, "steady: p50, p99, p99.9 in ms", p.of, p.results, func(_ way, r *result.Result) string {
		return percentiles(r.LatencyBetween(p.started, p.began))
	})
	c.row(t, "steady: CPU per 1,000 requests", p.of, p.results, func(w way, r *result.Result) string {
		pods, failed := r.Between(p.started, p.began)
		thousands := float64(sum(pods)+failed) / 1000
		text := fmt.Sprintf("%.0f ms", 1000*(r.At(p.began).CPU-r.At(p.started).CPU)/thousands)
		if proxy, ok := p.proxyCPU[w.title]; ok {
			text += fmt.Sprintf(" + %.0f ms of the proxy", 1000*proxy.Seconds()/thousands)
		}
		return text
	})
	c.row(t, "steady: connections opened", p.of, p.results, func(_ way, r *result.Result) string {
		return fmt.Sprint(r.At(p.began).Connections)
	})
}

// showPassage adds the rows about the whole.
func (c contest) showPassage(t *testing.T, scene string, p passage) {
	t.Helper()
	explain(t, p.of, p.results)
	c.failed(t, scene, 0, p.of, p.results, nothing)
	c.row(t, scene+": p50, p99, p99.9 in ms", p.of, p.results, func(_ way, r *result.Result) string {
		return percentiles(r.LatencyBetween(r.Started, r.Ended))
	})
	come, leave := without(p.now, p.old), without(p.old, p.now)
	c.row(t, scene+": first request to a new pod, after it was ready", p.of, p.results, func(w way, r *result.Result) string {
		slowest, used := time.Duration(0), 0
		for _, name := range come {
			ready := p.slices.when(t, name+" ready", w.service, p.began, podReady(name, true))
			if served, ok := r.Pods[name]; ok {
				slowest, used = max(slowest, served.First.Sub(ready)), used+1
			}
		}
		if used < len(come) {
			return fmt.Sprintf("never to %d of %d", len(come)-used, len(come))
		}
		return within(slowest, never).text
	})
	if len(leave) > 0 {
		c.row(t, scene+": last request to a leaving pod, after its slice said so", p.of, p.results, func(w way, r *result.Result) string {
			last := time.Duration(0)
			for _, name := range leave {
				left := p.slices.when(t, name+" not ready", w.service, p.began, podReady(name, false))
				last = max(last, r.Pods[name].Last.Sub(left))
			}
			return within(last, never).text
		})
	}
	c.connections(t, scene, p.of, p.results)
}

// without returns the names of the pods that are not among others.
func without(pods, others []pod) []string {
	var names []string
next:
	for _, p := range pods {
		for _, o := range others {
			if o.Metadata.UID == p.Metadata.UID {
				continue next
			}
		}
		names = append(names, p.Metadata.Name)
	}
	return names
}

// unevenness returns what the pod with the most requests had of them, relative
// to an even share.
func unevenness(r *result.Result, from, to time.Time, pods int) float64 {
	served, _ := r.Between(from, to)
	largest := 0
	for _, n := range served {
		largest = max(largest, n)
	}
	return float64(pods*largest) / float64(max(sum(served), 1))
}

func sum(counts map[string]int) int {
	n := 0
	for _, count := range counts {
		n += count
	}
	return n
}
