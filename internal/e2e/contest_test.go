package e2e_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/sidestep-lb/sidestep/examples/client/result"
)

// A contest puts sidestep beside its peers: all ways at the same time, through
// the same faults of the same pods.
type contest struct {
	ways   []way
	report *report
}

// control is a column of every contest: a client that is told beforehand which
// pods will stay healthy, and asks no other. What it measures is what the
// machine makes of the scene.
var control = way{title: "healthy pods alone", protocol: "grpc", via: "static"}

func newContest(name string, ways ...way) contest {
	ways = append(ways, control)
	return contest{ways, &report{
		caption: fmt.Sprintf(`%s: sidestep, by default, beside its peers. All ways at the same time, %d requests/s each, %d/s in the rollouts.
Where one of three pods is broken, a request takes the pods %v; it breaks after %v, for %v.
"%s" is a gRPC client that knows the pods that stay healthy, and asks no other: what it measures is the machine.
Latencies count from when a request was due; those that had no answer in time are among them.`,
			name, rate, rolloutRate, serviceTime, healthyFor, brokenFor, control.title),
		columns: ways,
	}}
}

// run plays all scenes.
func (c contest) run(t *testing.T) {
	t.Run("steady", c.steady)
	t.Run("scale up", c.scaleUp)
	t.Run("rollouts", c.rollouts)
	t.Run("slow pod", c.podIsSlow)
	t.Run("failing pod", c.podFailsFast)
	t.Run("frozen pod", c.podIsFrozen)
	t.Run("silent pod", c.podIsSilent)
	t.Run("killed pod", c.podIsKilled)
	t.Run("API server down", c.apiServerIsDown)
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

// addFailed adds a row that allows some percent of failed requests.
func (c contest) addFailed(t *testing.T, scene string, allowed float64, of []way, results []*result.Result, note func(*result.Result) string) {
	t.Helper()
	target := "0"
	if allowed > 0 {
		target = fmt.Sprintf("<= %g %%", allowed)
	}
	c.report.add(t, scene+": failed", target, of, each(of, results, func(w way, r *result.Result) measure {
		percent := 100 * float64(r.Failed) / float64(max(r.Requests, 1))
		text := fmt.Sprintf("%d of %d, %.2f %%", r.Failed, r.Requests, percent)
		if r.Failed == 0 {
			text = fmt.Sprintf("0 of %d", r.Requests)
		}
		if w.via == "clusterip" {
			text += note(r)
		}
		return measure{value: percent, text: text, wanted: allowed, fatal: 4 * allowed, judged: true}
	}))
}

// addWhole adds rows about the run as a whole.
func (c contest) addWhole(t *testing.T, scene string, of []way, results []*result.Result) {
	t.Helper()
	c.report.add(t, scene+": p50, p99, p99.9 in ms", "", of, each(of, results, func(_ way, r *result.Result) measure {
		return measure{text: percentiles(r.Latency)}
	}))
	c.addConnections(t, scene, of, results)
}

func (c contest) addConnections(t *testing.T, scene string, of []way, results []*result.Result) {
	t.Helper()
	c.report.add(t, scene+": connections opened", "", of, each(of, results, func(_ way, r *result.Result) measure {
		return measure{text: fmt.Sprint(r.Connections)}
	}))
}

func percentiles(l result.Latency) string {
	return fmt.Sprintf("%.1f, %.1f, %.1f", l.P50, l.P99, l.P999)
}

func (c contest) steady(t *testing.T) {
	cl := needCluster(t)
	cl.scale(t, 3)
	load := c.start(t, cl, c.peers(), rate)
	start := time.Now()
	time.Sleep(10 * time.Second)
	end := time.Now()
	proxyCPU := load.proxyCPU(t)
	results := load.stop(t)
	explain(t, c.peers(), results)
	c.report.add(t, "steady: largest share / mean", "", c.peers(), each(c.peers(), results, func(_ way, r *result.Result) measure {
		return measure{text: fmt.Sprintf("%.2f", unevenness(r, start, end, 3))}
	}))
	c.report.add(t, "steady: CPU of the client per 1,000 requests", "", c.peers(), each(c.peers(), results, func(w way, r *result.Result) measure {
		thousands := float64(r.Requests) / 1000
		text := fmt.Sprintf("%.0f ms", 1000*r.CPU/thousands)
		if proxy, ok := proxyCPU[w.title]; ok {
			text += fmt.Sprintf(", of the proxy %.0f ms", 1000*proxy.Seconds()/thousands)
		}
		return measure{text: text}
	}))
	c.addFailed(t, "steady", 0, c.peers(), results, nothing)
	c.addWhole(t, "steady", c.peers(), results)
}

// nothing is the note where none is needed.
func nothing(*result.Result) string { return "" }

// unevenness returns what the pod with the most requests had of them, relative
// to an even share.
func unevenness(r *result.Result, from, to time.Time, pods int) float64 {
	served, _ := r.Between(from, to)
	largest, sum := 0, 0
	for _, n := range served {
		largest, sum = max(largest, n), sum+n
	}
	return float64(pods*largest) / float64(max(sum, 1))
}
