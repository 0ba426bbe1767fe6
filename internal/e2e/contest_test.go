package e2e_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/sidestep-lb/sidestep/examples/client/result"
)

// A contest puts sidestep beside its peers: all ways at the same time, through
// the same scenes with the same pods.
type contest struct {
	ways          []way
	rate          int // requests per second, each way
	rolloutRate   int
	calm, patient time.Duration // how long before a change, and after a scale-up
	report        *report
}

// control is a column of every contest: a client that is told beforehand which
// pods will stay healthy, and asks no other. What it measures is what the
// machine makes of the scene.
var control = way{title: "healthy pods alone", protocol: "grpc", via: "static"}

func newContest(name string, c contest) contest {
	c.ways = append(c.ways, control)
	c.report = &report{
		caption: fmt.Sprintf(`%s: sidestep, by default, beside its peers. All ways at the same time, %d requests/s each, %d/s in the rollouts.
Where one of three pods is broken, a request takes the pods %v; it breaks after %v, for %v. Where it is a matter of luck
which pods a way asks, "there" says how much of it the pod had that breaks. "%s" is a gRPC client that
knows which those are, and asks no other: what it measures is the machine. Latencies count from when a request was due;
requests that had no answer in time are among them.`,
			name, c.rate, c.rolloutRate, serviceTime, healthyFor, brokenFor, control.title),
		columns: c.ways,
	}
	return c
}

// run plays all scenes.
func (c contest) run(t *testing.T) {
	c.play(t, "pods are replaced", c.rollouts)
	c.play(t, "pod is slow", c.podIsSlow)
	c.play(t, "pod fails", c.podFails)
	c.play(t, "pod is frozen", c.podIsFrozen)
	c.play(t, "pod is silent", c.podIsSilent)
	c.play(t, "pod is killed", c.podIsKilled)
	c.play(t, "pods come", c.scaleUp)
	c.play(t, "API server is down", c.apiServerIsDown)
}

// longest is what the longest scene takes on a slow machine.
const longest = 5 * time.Minute

// play plays a scene, if there is time for it.
func (c contest) play(t *testing.T, name string, scene func(*testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		needTime(t, longest)
		scene(t)
	})
}

// peers are the ways without the control, which has no place in scenes where
// pods come and go.
func (c contest) peers() []way { return c.ways[:len(c.ways)-1] }

// start starts a client for each way. The control asks the given pods.
func (c contest) start(t *testing.T, cl *cluster, of []way, rate int, healthy ...pod) *load {
	t.Helper()
	of = append([]way(nil), of...)
	for i := range of {
		if of[i].via != control.via {
			continue
		}
		for _, p := range healthy {
			if of[i].target != "" {
				of[i].target += ","
			}
			of[i].target += p.Status.PodIP + ":9090"
		}
	}
	return startLoadAt(t, cl, rate, of...)
}

// row adds a row of figures that are not judged.
func (c contest) row(t *testing.T, scene string, of []way, results []*result.Result, figure func(way, *result.Result) string) {
	t.Helper()
	c.report.add(t, scene, "", of, each(of, results, func(w way, r *result.Result) measure {
		return measure{text: figure(w, r)}
	}))
}

// failed adds a row that allows some percent of failed requests. The note
// follows the figure.
func (c contest) failed(t *testing.T, scene string, allowed float64, of []way, results []*result.Result, note func(way, *result.Result) string) {
	t.Helper()
	target := "0"
	if allowed > 0 {
		target = fmt.Sprintf("<= %g %%", allowed)
	}
	c.report.add(t, scene+": failed", target, of, each(of, results, func(w way, r *result.Result) measure {
		percent := 100 * float64(r.Failed) / float64(max(r.Requests, 1))
		text := fmt.Sprintf("%d of %d", r.Failed, r.Requests)
		if r.Failed > 0 {
			text += fmt.Sprintf(", %.2f %%", percent)
		}
		return measure{value: percent, text: text + note(w, r), wanted: allowed, fatal: 4 * allowed, judged: true}
	}))
}

// nothing is the note where none is needed.
func nothing(way, *result.Result) string { return "" }

func (c contest) connections(t *testing.T, scene string, of []way, results []*result.Result) {
	t.Helper()
	c.row(t, scene+": connections opened", of, results, func(_ way, r *result.Result) string { return fmt.Sprint(r.Connections) })
}

func percentiles(l result.Latency) string {
	return fmt.Sprintf("%.1f, %.1f, %.1f", l.P50, l.P99, l.P999)
}
