package e2e_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/sidestep-lb/sidestep/examples/client/result"
)

const rolloutRate = 500 // requests per second, each way

// The scenes of this file are those of a contest in which pods come and go.

func (c contest) scaleUp(t *testing.T) {
	cl := needCluster(t)
	cl.scale(t, 3)
	p := c.passage(t, cl, rate, func() { cl.scale(t, 10) })
	c.addPassage(t, "scale 3 to 10", p)
}

// rollouts are two. The pods that leave in the first have no preStop hook, and
// the change is that those that come have one, as the second needs it.
func (c contest) rollouts(t *testing.T) {
	cl := needCluster(t)
	cl.scale(t, 3)
	t.Cleanup(func() { cl.removeHook(t) })
	p := c.passage(t, cl, rolloutRate, func() {
		cl.must(t, "", "patch", "deployment", "quiz", "--patch-file", "testdata/prestop.yaml")
		cl.scale(t, 3)
	})
	c.addPassage(t, "rollout", p)
	p = c.passage(t, cl, rolloutRate, func() { cl.removeHook(t) })
	c.addPassage(t, "rollout, preStop sleep 5 s", p)
}

// removeHook returns when no pod has the hook any more.
func (c *cluster) removeHook(t *testing.T) {
	t.Helper()
	c.must(t, "", "patch", "deployment", "quiz", "-p", `{"spec":{"template":{"spec":{"containers":[{"name":"server","lifecycle":null}]}}}}`)
	c.scale(t, 3)
}

// A passage is a run in which some pods come, and others may leave.
type passage struct {
	began    time.Time
	old, now []pod
	slices   *sliceWatch
	results  []*result.Result
}

func (c contest) passage(t *testing.T, cl *cluster, rate int, change func()) passage {
	t.Helper()
	p := passage{old: cl.pods(t), slices: watchSlices(t, cl)}
	load := c.start(t, cl, c.peers(), rate)
	p.began = time.Now()
	change()
	p.now = cl.pods(t)
	cl.settle()
	p.results = load.stop(t)
	return p
}

func (c contest) addPassage(t *testing.T, scene string, p passage) {
	t.Helper()
	of := c.peers()
	explain(t, of, p.results)
	c.addFailed(t, scene, 0, of, p.results, nothing)
	come, leave := without(p.now, p.old), without(p.old, p.now)
	c.report.add(t, scene+": first request to a new pod, after it was ready", "", of, each(of, p.results, func(w way, r *result.Result) measure {
		slowest, used := time.Duration(0), 0
		for _, name := range come {
			ready := p.slices.when(t, name+" ready", w.service, p.began, podReady(name, true))
			if served, ok := r.Pods[name]; ok {
				slowest, used = max(slowest, served.First.Sub(ready)), used+1
			}
		}
		if used < len(come) {
			return measure{text: fmt.Sprintf("never to %d of %d", len(come)-used, len(come))}
		}
		return within(slowest, never)
	}))
	if len(leave) > 0 {
		c.report.add(t, scene+": last request to a leaving pod, after its slice said so", "", of, each(of, p.results, func(w way, r *result.Result) measure {
			last := time.Duration(0)
			for _, name := range leave {
				left := p.slices.when(t, name+" not ready", w.service, p.began, podReady(name, false))
				last = max(last, r.Pods[name].Last.Sub(left))
			}
			return within(last, never)
		}))
	}
	c.addWhole(t, scene, of, p.results)
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
