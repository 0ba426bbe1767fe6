package e2e_test

import (
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/sidestep-lb/sidestep/examples/client/result"
)

// The scenes of this file change the Service itself, or shake what tells of it.

func TestRenamedPortFailsNoRequest(t *testing.T) {
	c := needCluster(t)
	c.scale(t, 3)
	rename := func(name string) {
		c.must(t, "", "patch", "service", "quiz", "--type=json", "-p", fmt.Sprintf(`[{"op":"replace","path":"/spec/ports/0/name","value":%q}]`, name))
	}
	t.Cleanup(func() { rename("http") })
	load := startLoad(t, c, "client", ways...)
	for range 3 {
		rename("web")
		time.Sleep(time.Second)
		rename("http")
		time.Sleep(time.Second)
	}
	c.settle()
	results := load.stop(t)
	explain(t, ways, results)
	theReport.add(t, "port renamed 6 times: failed requests", "0", ways, each(ways, results, func(_ way, r *result.Result) measure {
		return none(r.Failed, fmt.Sprintf(" of %d", r.Requests))
	}))
}

func TestServiceThatIsMadeAnewIsServedAgain(t *testing.T) {
	c := needCluster(t)
	c.scale(t, 3)
	slices := watchSlices(t, c)
	load := startLoad(t, c, "client", ways...)
	deleted := time.Now()
	c.must(t, "", "delete", "service", "quiz", "quiz-pods")
	c.must(t, "", "apply", "-f", manifests+"quiz.yaml")
	c.settle()
	results := load.stop(t)
	explain(t, ways, results)
	theReport.add(t, "Service deleted and made anew: last failure after its slices", "<= 1 s, TTL + 1 s", ways, each(ways, results, func(w way, r *result.Result) measure {
		ready := slices.when(t, "three endpoints", w.service, deleted, func(endpoints map[string]endpoint) bool {
			n := 0
			for _, e := range endpoints {
				if e.ready {
					n++
				}
			}
			return n >= 3
		})
		last := ready
		for _, f := range r.Failures {
			if f.Sent.After(last) {
				last = f.Sent
			}
		}
		m := within(last.Sub(ready), c.limit(w, time.Second))
		m.text += fmt.Sprintf(" (%d failed)", r.Failed)
		return m
	}))
}

func TestReadinessThatFlipsFailsNoRequest(t *testing.T) {
	c := needCluster(t)
	c.scale(t, 3)
	pods := c.pods(t)
	t.Cleanup(func() {
		for _, p := range pods {
			c.turn(t, p.Metadata.Name, url.Values{"ready": {"true"}})
		}
	})
	load := startLoad(t, c, "client", ways...)
	for range 5 {
		for _, ready := range []string{"false", "true"} {
			for _, p := range pods[:2] {
				c.turn(t, p.Metadata.Name, url.Values{"ready": {ready}})
			}
			time.Sleep(500 * time.Millisecond)
		}
	}
	c.settle()
	results := load.stop(t)
	explain(t, ways, results)
	theReport.add(t, "two pods flip readiness 5 times: failed requests", "0", ways, each(ways, results, func(_ way, r *result.Result) measure {
		return none(r.Failed, fmt.Sprintf(" of %d", r.Requests))
	}))
}

func TestAPIServerThatRestartsAgainAndAgainFailsNoRequest(t *testing.T) {
	c := needCluster(t)
	if c.stopAPI == "" || c.startAPI == "" {
		t.Skip("SIDESTEP_E2E_APISERVER_STOP and SIDESTEP_E2E_APISERVER_START are not set")
	}
	c.scale(t, 3)
	load := startLoad(t, c, "client", ways...)
	began := time.Now()
	for range 10 {
		for _, line := range []string{c.stopAPI, c.startAPI} {
			if _, err := command(line); err != nil {
				t.Fatal(err)
			}
		}
	}
	took := time.Since(began).Round(time.Second)
	c.awaitAPI(t)
	c.settle()
	results := load.stop(t)
	explain(t, ways, results)
	theReport.add(t, fmt.Sprintf("API server restarted 10 times in %v: failed requests", took), "0", ways,
		each(ways, results, func(_ way, r *result.Result) measure {
			return none(r.Failed, fmt.Sprintf(" of %d", r.Requests))
		}))
}
