package httpbalancer_test

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sidestep-lb/sidestep/balancer/httpbalancer"
)

func TestAPodThatFailsItsProbesIsOutUntilOneSucceeds(t *testing.T) {
	var sick atomic.Bool
	var host atomic.Value
	probed := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" {
			host.Store(r.Host)
			if sick.Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		}
		io.WriteString(w, strings.Repeat("x", 1000))
	}
	pods := []*server{start(t, "quiz-0", probed), start(t, "quiz-1", nil)}
	transport := newTransport(t, httpbalancer.Config{
		Source: serving(pods...),
		Probe:  &httpbalancer.Probe{Path: "/healthz", Interval: 10 * time.Millisecond},
	})
	get(t, &http.Client{Transport: transport}, "http://quiz.kiada:8080/")
	sick.Store(true)
	eventually(t, "one of two is fit", func() bool { return transport.Fit() == 1 })
	before := pods[0].requests.Load()
	for range 50 {
		if name := get(t, &http.Client{Transport: transport}, "http://quiz.kiada:8080/"); name != "quiz-1" {
			t.Fatalf("%q answered while it was sick", name)
		}
	}
	if host.Load() != "quiz.kiada:8080" {
		t.Errorf("the probes' Host is %q", host.Load())
	}
	eventually(t, "it is still probed", func() bool { return pods[0].requests.Load() > before })
	sick.Store(false)
	eventually(t, "both are fit again", func() bool { return transport.Fit() == 2 })
}

func TestAProbeThatTimesOutEndsNothingElse(t *testing.T) {
	release := make(chan struct{})
	waiting := make(chan struct{}, 100)
	pod := start(t, "quiz-0", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" {
			<-r.Context().Done()
			return
		}
		waiting <- struct{}{}
		<-release
		io.WriteString(w, "late")
	})
	transport := newTransport(t, httpbalancer.Config{
		Source: serving(pod),
		Probe:  &httpbalancer.Probe{Path: "/healthz", Interval: 5 * time.Millisecond, Timeout: 5 * time.Millisecond},
	})
	answer := make(chan string)
	go func() { answer <- get(t, &http.Client{Transport: transport}, "http://quiz.kiada/") }()
	<-waiting
	eventually(t, "the pod is sick", func() bool { return transport.Fit() == 0 })
	close(release)
	if got := <-answer; got != "late" {
		t.Errorf("the request that was under way got %q", got)
	}
	if got := get(t, &http.Client{Transport: transport}, "http://quiz.kiada/"); got != "late" { // none is fit, so all are used
		t.Errorf("the next one got %q", got)
	}
}

func TestATCPProbeConnectsAndNoMore(t *testing.T) {
	pods := []*server{start(t, "quiz-0", nil), start(t, "quiz-1", nil)}
	transport := newTransport(t, httpbalancer.Config{Source: serving(pods...), Probe: &httpbalancer.Probe{Interval: 5 * time.Millisecond}})
	get(t, &http.Client{Transport: transport}, "http://quiz.kiada/")
	requests := pods[0].requests.Load() + pods[1].requests.Load()
	pods[0].Close()
	eventually(t, "one of two is fit", func() bool { return transport.Fit() == 1 })
	if n := pods[0].requests.Load() + pods[1].requests.Load(); n != requests {
		t.Errorf("%d requests besides the one", n-requests)
	}
}

func TestAnImpossibleProbeIsAnErrorThatNamesTheField(t *testing.T) {
	for field, probe := range map[string]httpbalancer.Probe{
		"Probe.Path": {Path: "healthz"}, "Probe.Interval": {Interval: -1}, "Probe.Timeout": {Timeout: -1},
	} {
		transport := httpbalancer.New(httpbalancer.Config{Source: newSource(), Probe: &probe})
		_, err := transport.RoundTrip(post(t, "http://quiz.kiada/", http.NoBody))
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: error %v", field, err)
		}
		transport.Close()
	}
}
