package e2e_test

import (
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/sidestep-lb/sidestep/examples/client/result"
)

// byDefault are the ways with the policy that programs have by default.
func byDefault() []way {
	adaptive := make([]way, len(ways))
	for i, w := range ways {
		w.policy = "adaptive"
		adaptive[i] = w
	}
	return adaptive
}

// misbehave runs a load over three pods, one of which gets the knobs, and
// returns its name and the results.
func misbehave(t *testing.T, of []way, knobs url.Values) (victim string, turned time.Time, results []*result.Result) {
	t.Helper()
	c := needCluster(t)
	c.scale(t, 3)
	victim = c.pods(t)[0].Metadata.Name
	load := startLoad(t, c, "client", of...)
	turned = time.Now()
	c.turn(t, victim, knobs)
	t.Cleanup(func() { c.turn(t, victim, url.Values{"fail": {"0"}, "delay": {"0s"}}) })
	time.Sleep(15 * time.Second)
	results = load.stop(t)
	explain(t, of, results)
	return victim, turned, results
}

func TestPodThatFailsAllRequestsIsEjected(t *testing.T) {
	of := byDefault()
	_, _, results := misbehave(t, of, url.Values{"fail": {"1"}})
	theReport.add(t, "one of three pods fails all requests for 15 s: failed %", "<= 0.5", of, each(of, results, func(_ way, r *result.Result) measure {
		percent := 100 * float64(r.Failed) / float64(max(r.Requests, 1))
		return measure{value: percent, text: fmt.Sprintf("%.2f", percent), wanted: 0.5, fatal: 2, judged: true}
	}))
}

func TestSlowPodIsAvoided(t *testing.T) {
	of := byDefault()
	victim, turned, results := misbehave(t, of, url.Values{"delay": {"200ms"}})
	theReport.add(t, "one of three pods takes 200 ms: its share / fair share after 2 s", "<= 0.1", of, each(of, results, func(_ way, r *result.Result) measure {
		pods, _ := r.Between(turned.Add(2*time.Second), turned.Add(14*time.Second))
		sum := 0
		for _, n := range pods {
			sum += n
		}
		share := 3 * float64(pods[victim]) / float64(max(sum, 1))
		return measure{value: share, text: fmt.Sprintf("%.3f", share), wanted: 0.1, fatal: 0.5, judged: true}.and(r.Failed, "failed")
	}))
}
