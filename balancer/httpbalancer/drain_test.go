package httpbalancer_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/sidestep-lb/sidestep/balancer/httpbalancer"
	"github.com/sidestep-lb/sidestep/discovery"
)

func TestAPodThatLeavesFinishesWhatItHasAndThenItsConnectionsClose(t *testing.T) {
	for _, protocols := range []*http.Protocols{nil, h2c()} {
		release := make(chan struct{})
		old := startWith(t, "quiz-0", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/stream" {
				streams(release)(w, r)
			}
		}, protocols)
		young := startWith(t, "quiz-1", nil, protocols)
		s := serving(old)
		transport := newTransport(t, httpbalancer.Config{Source: s, Base: &http.Transport{Protocols: protocols}})
		client := &http.Client{Transport: transport}
		resp, err := client.Get("http://quiz.kiada/stream")
		if err != nil {
			t.Fatal(err)
		}

		s.publish(young)
		eventually(t, "the new pod serves", func() bool { return get(t, client, "http://quiz.kiada/") == "quiz-1" })
		for range 10 {
			if got := get(t, client, "http://quiz.kiada/"); got != "quiz-1" {
				t.Fatalf("%s: served by %s", resp.Proto, got)
			}
		}
		eventually(t, "only the connection in use is left", func() bool { return old.openConns() == 1 })
		close(release)
		if got := read(t)(resp, nil); got != "xreleased" {
			t.Errorf("%s: the old request got %q", resp.Proto, got)
		}
		eventually(t, "the old pod's connection closes", func() bool { return old.openConns() == 0 })
	}
}

func TestAForgottenBodyDelaysDrainingNoLongerThanTheDrainTimeout(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	old := start(t, "quiz-0", streams(release))
	s := serving(old)
	transport := newTransport(t, httpbalancer.Config{Source: s, DrainTimeout: 50 * time.Millisecond})
	resp, err := (&http.Client{Transport: transport}).Get("http://quiz.kiada/")
	if err != nil {
		t.Fatal(err)
	}
	s.publish()
	eventually(t, "the connection closes", func() bool { return old.openConns() == 0 })
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("the body ended well")
	}
	resp.Body.Close()
}

// mustNotClose calls Close, twice, and fails if that returns while a request is in
// flight. What it returns is closed when Close has returned.
func mustNotClose(t *testing.T, transport *httpbalancer.Transport) <-chan struct{} {
	t.Helper()
	var closing sync.WaitGroup
	for range 2 {
		closing.Go(func() { transport.Close() })
	}
	closed := make(chan struct{})
	go func() {
		closing.Wait()
		close(closed)
	}()
	eventually(t, "new requests fail", func() bool {
		resp, err := (&http.Client{Transport: transport}).Get("http://quiz.kiada/")
		if err == nil {
			resp.Body.Close()
		}
		return errors.Is(err, discovery.ErrClosed)
	})
	select {
	case <-closed:
		t.Error("Close returned with a request in flight")
	default:
	}
	return closed
}

func TestCloseWaitsForRequestsInFlight(t *testing.T) {
	release := make(chan struct{})
	transport := httpbalancer.New(httpbalancer.Config{Source: serving(start(t, "quiz-0", streams(release)))})
	client := &http.Client{Transport: transport}
	resp, err := client.Get("http://quiz.kiada/")
	if err != nil {
		t.Fatal(err)
	}

	closed := mustNotClose(t, transport)
	close(release)
	if got := read(t)(resp, nil); got != "xreleased" {
		t.Errorf("the request in flight got %q", got)
	}
	<-closed
	transport.Close()
	mustFail(t, discovery.ErrClosed)(client.Get("http://www.example.com/"))
}

func TestCloseWaitsNoLongerThanTheDrainTimeout(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	transport := httpbalancer.New(httpbalancer.Config{Source: serving(start(t, "quiz-0", streams(release))), DrainTimeout: 50 * time.Millisecond})
	resp, err := (&http.Client{Transport: transport}).Get("http://quiz.kiada/")
	if err != nil {
		t.Fatal(err)
	}
	transport.Close()
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("the body ended well")
	}
	resp.Body.Close()
}

func TestCloseEndsRequestsThatWaitForEndpointsAndTheWatch(t *testing.T) {
	s := newSource()
	transport := httpbalancer.New(httpbalancer.Config{Source: s})
	failed := make(chan error)
	go func() {
		_, err := (&http.Client{Transport: transport}).Get("http://quiz.kiada.svc/")
		failed <- err
	}()
	eventually(t, "the watch runs", func() bool { return s.watches.Load() == 1 })
	transport.Close()
	if err := <-failed; !errors.Is(err, discovery.ErrClosed) {
		t.Errorf("error %v, want one that wraps ErrClosed", err)
	}
	if n := s.watches.Load(); n != 0 {
		t.Errorf("%d watches after Close", n)
	}
}

func TestCloseStopsAttemptsToReachPods(t *testing.T) {
	transport := httpbalancer.New(httpbalancer.Config{Source: serving(gone(t, "quiz-0"))})
	for range 5 {
		if _, err := (&http.Client{Transport: transport}).Get("http://quiz.kiada/"); err == nil {
			t.Fatal("served")
		}
	}
	transport.Close() // the leak check sees the rest
}

func TestManyRequestsWhileTheTransportIsClosed(t *testing.T) {
	transport := httpbalancer.New(httpbalancer.Config{Source: serving(start(t, "quiz-0", nil), start(t, "quiz-1", nil))})
	client := &http.Client{Transport: transport}
	var requests sync.WaitGroup
	for range 8 {
		requests.Go(func() {
			for {
				resp, err := client.Get("http://quiz.kiada/")
				if errors.Is(err, discovery.ErrClosed) {
					return
				}
				read(t)(resp, err)
			}
		})
	}
	<-time.After(20 * time.Millisecond) // so that requests of all ages meet Close
	transport.Close()
	requests.Wait()
}

func TestCloseIdleConnectionsIsForwarded(t *testing.T) {
	pods := []*server{start(t, "quiz-0", nil), start(t, "quiz-1", nil)}
	client := newClient(t, serving(pods...))
	for range 4 {
		get(t, client, "http://quiz.kiada/")
	}
	client.CloseIdleConnections()
	for _, pod := range pods {
		eventually(t, "no connections are left", func() bool { return pod.openConns() == 0 })
	}
	get(t, client, "http://quiz.kiada/")
}

func TestARollingRestartUnderLoadFailsNoRequest(t *testing.T) {
	for name, protocols := range map[string]*http.Protocols{"HTTP/1": nil, "h2c": h2c()} {
		t.Run(name, func(t *testing.T) {
			// A handler that takes a while, so that there is always something in flight.
			handler := func(w http.ResponseWriter, r *http.Request) {
				<-time.After(2 * time.Millisecond)
				io.WriteString(w, "ok")
			}
			pods := make([]*server, 3)
			for i := range pods {
				pods[i] = startWith(t, "old", handler, protocols)
			}
			s := serving(pods...)
			transport := newTransport(t, httpbalancer.Config{Source: s, Base: &http.Transport{Protocols: protocols}})
			client := &http.Client{Transport: transport}

			ctx, stop := context.WithCancel(t.Context())
			var load sync.WaitGroup
			for range 6 {
				load.Go(func() {
					for ctx.Err() == nil {
						get(t, client, "http://quiz.kiada/")
					}
				})
			}
			for i, old := range pods {
				<-time.After(20 * time.Millisecond) // of load on the pods as they are
				pods[i] = startWith(t, "new", handler, protocols)
				shutdown, cancel := context.WithTimeout(t.Context(), patience)
				stopped := make(chan error)
				go func() { stopped <- old.Shutdown(shutdown) }()
				<-time.After(10 * time.Millisecond) // the pod stops before anybody is told
				s.publish(pods...)
				if err := <-stopped; err != nil {
					t.Error(err)
				}
				cancel()
				eventually(t, "the new pod serves", func() bool { return pods[i].requests.Load() > 0 })
			}
			stop()
			load.Wait()
		})
	}
}
