package httpbalancer_test

import (
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/httpbalancer"
	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/selection"
	"github.com/sidestep-lb/sidestep/discovery/topology"
)

// status returns the status of the answer.
func status(t *testing.T, transport *httpbalancer.Transport, url string) int {
	t.Helper()
	resp, err := (&http.Client{Transport: transport}).Get(url)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

func TestAPodThatAnswersWithServerErrorsIsEjected(t *testing.T) {
	failing := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }
	for _, policy := range []string{balancer.Adaptive, balancer.LeastRequest, balancer.RoundRobin} {
		pods := []*server{start(t, "quiz-0", failing), start(t, "quiz-1", nil), start(t, "quiz-2", nil)}
		transport := newTransport(t, httpbalancer.Config{Source: serving(pods...), Balancer: balancer.Config{Policy: policy}})
		errors, began := 0, time.Now()
		for range 300 {
			if status(t, transport, "http://quiz.kiada/") >= 500 {
				errors++
			}
		}
		// Five in a row, and a probe after a second, or half of one, and each second that follows.
		if limit := 6 + int(2*time.Since(began).Seconds()); errors > limit {
			t.Errorf("%s: %d of 300 requests failed, want %d at most", policy, errors, limit)
		}
	}
}

func TestClientErrorsAreNoReasonForEjection(t *testing.T) {
	missing := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }
	pods := []*server{start(t, "quiz-0", missing), start(t, "quiz-1", missing)}
	transport := newTransport(t, httpbalancer.Config{Source: serving(pods...)})
	for range 100 {
		status(t, transport, "http://quiz.kiada/")
	}
	if n := transport.Fit(); n != 2 {
		t.Errorf("%d of 2 pods are fit after answers of 404", n)
	}
}

func TestAnEjectedPodComesBackWhenItsProbeSucceeds(t *testing.T) {
	var broken atomic.Bool
	broken.Store(true)
	pods := []*server{start(t, "quiz-0", func(w http.ResponseWriter, _ *http.Request) {
		if broken.Load() {
			w.WriteHeader(http.StatusBadGateway)
		}
	}), start(t, "quiz-1", nil)}
	transport := newTransport(t, httpbalancer.Config{Source: serving(pods...), Balancer: balancer.Config{Policy: balancer.RoundRobin}})
	for transport.Fit() != 1 {
		status(t, transport, "http://quiz.kiada/")
		if pods[0].requests.Load() > 100 {
			t.Fatal("it was never ejected")
		}
	}
	broken.Store(false)
	eventually(t, "it is back", func() bool {
		status(t, transport, "http://quiz.kiada/")
		return transport.Fit() == 2
	})
}

func TestRetryAfterIsReadInBothItsForms(t *testing.T) {
	in := time.Now().Add(90 * time.Second).UTC().Format(http.TimeFormat)
	for text, want := range map[string]time.Duration{
		"": 0, "120": 2 * time.Minute, "0": 0, "-1": 0, "1.5": 0, "soon": 0, "99999999999999999999": 0,
		"Fri, 31 Dec 1999 23:59:59 GMT": 0, in: 90 * time.Second,
	} {
		got := httpbalancer.RetryAfter(http.Header{"Retry-After": {text}})
		if got > want || got < want-10*time.Second {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func TestAPodThatSaysRetryAfterIsSparedForThatLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n pipes
		n.retryAfter = map[string]string{"10.0.0.1:80": "60"}
		transport := virtualWith(at("10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"), &n, &http.Transport{}, httpbalancer.Config{})
		defer transport.Close()
		refused := func(requests int) (n int) {
			for range requests {
				if status(t, transport, "http://quiz.kiada/") == http.StatusServiceUnavailable {
					n++
				}
			}
			return n
		}
		if n := refused(30); n != 1 {
			t.Errorf("%d of 30 requests met the pod that asked to be spared, want 1", n)
		}
		time.Sleep(61 * time.Second) // of virtual time
		if n := refused(30); n != 1 {
			t.Errorf("%d of 30 requests a minute later, want 1", n)
		}
		n.retryAfter = map[string]string{"10.0.0.1:80": "60", "10.0.0.2:80": "60", "10.0.0.3:80": "60"}
		if n := refused(10); n != 10 {
			t.Errorf("%d of 10 requests were answered by pods that all ask to be spared", n)
		}
	})
}

func TestSpillOverUsesTheOtherZoneWhenTheOwnOneIsUnreachable(t *testing.T) {
	own, other := start(t, "own", nil), start(t, "other", nil)
	endpoints := []discovery.Endpoint{own.endpoint(), other.endpoint()}
	endpoints[0].Zone, endpoints[1].Zone = "a", "b"
	s := newSource()
	s.set(discovery.View{Snapshot: discovery.NewSnapshot(endpoints)})
	transport := newTransport(t, httpbalancer.Config{Source: s, Selection: selection.Config{Locality: topology.Locality{Zone: "a"}, SpillOver: true}})
	client := &http.Client{Transport: transport}
	for range 100 {
		get(t, client, "http://quiz.kiada/")
	}
	if n := other.requests.Load(); n > 20 {
		t.Errorf("%d of 100 requests went to the other zone while the own one was fit", n)
	}
	own.Close()
	for range 20 {
		if name := get(t, client, "http://quiz.kiada/"); name != "other" {
			t.Fatalf("%q answered", name)
		}
	}
}
