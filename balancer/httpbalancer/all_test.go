package httpbalancer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sidestep-lb/sidestep/balancer/httpbalancer"
	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/selection"
)

func TestAllAsksEveryReadyPodOnce(t *testing.T) {
	pods := []*server{start(t, "quiz-0", echo), start(t, "quiz-1", echo), start(t, "quiz-2", fails(500)), gone(t, "quiz-3"), start(t, "quiz-4", echo)}
	var endpoints []discovery.Endpoint
	for i, pod := range pods {
		e := pod.endpoint()
		e.Ready = i != 4
		endpoints = append(endpoints, e)
	}
	s := newSource()
	s.set(viewOf(endpoints...))
	transport := newTransport(t, httpbalancer.Config{Source: s, Selection: selection.Config{SubsetSize: 1}})

	for range 2 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://quiz.kiada/flush", strings.NewReader("hello"))
		if err != nil {
			t.Fatal(err)
		}
		answers, err := transport.All(req, 2)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for a := range answers {
			if a.Err != nil {
				got[a.Endpoint.Pod] = "error"
				continue
			}
			body, err := io.ReadAll(a.Response.Body)
			if err != nil {
				t.Error(err)
			}
			got[a.Endpoint.Pod] = fmt.Sprint(a.Response.StatusCode, " ", string(body))
			if a.Response.Request != req {
				t.Error("Response.Request is not the caller's request")
			}
		}
		want := map[string]string{"quiz-0": "200 hello", "quiz-1": "200 hello", "quiz-2": "500 no", "quiz-3": "error"}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("answers %v, want %v", got, want)
		}
	}
	for _, pod := range slices.Delete(pods, 3, 4) {
		if n, want := pod.requests.Load(), int64(2); n != want && pod.name != "quiz-4" || pod.name == "quiz-4" && n != 0 {
			t.Errorf("%s got %d requests", pod.name, n)
		}
	}
	eventually(t, "connections to pods that are not used otherwise close", func() bool {
		return pods[0].openConns()+pods[1].openConns()+pods[2].openConns() <= 1
	})
}

func TestAllHasNoMoreInFlightThanItMay(t *testing.T) {
	var now, most atomic.Int64
	handler := func(w http.ResponseWriter, _ *http.Request) {
		for n := now.Add(1); ; {
			if m := most.Load(); n <= m || most.CompareAndSwap(m, n) {
				break
			}
		}
		now.Add(-1)
		io.WriteString(w, "ok")
	}
	var pods []*server
	for i := range 12 {
		pods = append(pods, start(t, fmt.Sprint("quiz-", i), handler))
	}
	transport := newTransport(t, httpbalancer.Config{Source: serving(pods...)})
	answers, err := transport.All(request(t, func(*http.Request) {}), 3)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for a := range answers {
		n++
		if asked := requestsOf(pods); asked > int64(n-1+3) {
			t.Errorf("%d pods were asked before the %d. answer was looked at", asked, n)
		}
		if a.Err != nil {
			t.Error(a.Err)
		}
	}
	if n != 12 || most.Load() > 3 {
		t.Errorf("%d answers, %d at the same time", n, most.Load())
	}
}

func requestsOf(pods []*server) (n int64) {
	for _, pod := range pods {
		n += pod.requests.Load()
	}
	return n
}

func TestLeavingAllCancelsTheRest(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	var pods []*server
	for i := range 6 {
		handler := waits(release)
		if i == 0 {
			handler = nil
		}
		pods = append(pods, start(t, fmt.Sprint("quiz-", i), handler))
	}
	transport := newTransport(t, httpbalancer.Config{Source: serving(pods...)})
	answers, err := transport.All(request(t, func(*http.Request) {}), 6)
	if err != nil {
		t.Fatal(err)
	}
	for a := range answers {
		if a.Endpoint.Pod != "quiz-0" {
			t.Errorf("%s answered: %v", a.Endpoint.Pod, a.Err)
		}
		break
	}
}

func TestAllSaysWhyThereIsNobodyToAsk(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	closed := httpbalancer.New(httpbalancer.Config{Source: newSource()})
	closed.Close()
	for _, tt := range []struct {
		name      string
		transport *httpbalancer.Transport
		url       string
		want      error
	}{
		{"no pods", newTransport(t, httpbalancer.Config{Source: serving()}), "http://quiz.kiada/", discovery.ErrNoEndpoints},
		{"no endpoints yet", newTransport(t, httpbalancer.Config{Source: newSource()}), "http://quiz.kiada.svc/", context.Canceled},
		{"closed", closed, "http://quiz.kiada/", discovery.ErrClosed},
		{"no Service", newTransport(t, httpbalancer.Config{Source: newSource()}), "http://www.example.com/", nil},
	} {
		req := request(t, func(*http.Request) {})
		if tt.want == context.Canceled { //nolint:errorlint // it is a constant of the table
			req = req.WithContext(ctx)
		}
		req.URL.Host = strings.TrimSuffix(strings.TrimPrefix(tt.url, "http://"), "/")
		b := newBody("hello")
		req.Body = b
		req.GetBody = func() (io.ReadCloser, error) { return newBody("hello"), nil }
		if _, err := tt.transport.All(req, 0); err == nil || tt.want != nil && !errors.Is(err, tt.want) {
			t.Errorf("%s: error %v, want %v", tt.name, err, tt.want)
		}
		b.mustBeClosedOnce(t)
	}
	if _, err := newTransport(t, httpbalancer.Config{Source: serving(start(t, "quiz-0", nil))}).All(post(t, "http://quiz.kiada/", newBody("hello")), 1); err == nil {
		t.Error("a body without GetBody was sent to all")
	}
}

func TestAllGoesOnWhenConnectionsHaveEnded(t *testing.T) {
	pods := []*server{start(t, "quiz-0", echo), start(t, "quiz-1", echo)}
	transport := newTransport(t, httpbalancer.Config{Source: serving(pods...), Base: &http.Transport{DialContext: dialBrittle}})
	for range 5 {
		answers, err := transport.All(request(t, func(*http.Request) {}), 2)
		if err != nil {
			t.Fatal(err)
		}
		for a := range answers {
			if a.Err != nil {
				t.Error(a.Err)
			}
		}
	}
}
