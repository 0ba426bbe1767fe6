package httpbalancer_test

import (
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/httpbalancer"
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
		errors := 0
		for range 300 {
			if status(t, transport, "http://quiz.kiada/") >= 500 {
				errors++
			}
		}
		if errors > 6 { // five in a row, and one for a probe
			t.Errorf("%s: %d of 300 requests failed", policy, errors)
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
