package httpbalancer_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sidestep-lb/sidestep/balancer/httpbalancer"
	"github.com/sidestep-lb/sidestep/discovery"
)

// echo answers with the request's body.
func echo(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }

// breaks reads the request and then closes the connection without an answer.
func breaks(_ http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	panic(http.ErrAbortHandler)
}

func TestARefusedPostIsSentToAnotherPodWithItsWholeBody(t *testing.T) {
	client := newClient(t, serving(start(t, "quiz-0", echo), gone(t, "quiz-1")))
	for _, tt := range []struct {
		name string
		body func() io.Reader
	}{
		{"with GetBody", func() io.Reader { return strings.NewReader("hello") }},
		{"without GetBody", func() io.Reader { return io.MultiReader(strings.NewReader("hello")) }},
	} {
		for range 2 { // one of them meets quiz-1 first
			got := read(t)(client.Post("http://quiz.kiada/", "text/plain", tt.body()))
			if got != "hello" {
				t.Errorf("%s: the pod got %q", tt.name, got)
			}
		}
	}
}

func TestAPostWhoseConnectionBreaksIsNotSentAgain(t *testing.T) {
	first, second := start(t, "quiz-0", breaks), start(t, "quiz-1", breaks)
	client := newClient(t, serving(first, second))

	_, err := client.Post("http://quiz.kiada/", "text/plain", strings.NewReader("hello"))
	if !errors.Is(err, io.EOF) {
		t.Errorf("error %v, want EOF", err)
	}
	if n := first.requests.Load() + second.requests.Load(); n != 1 {
		t.Errorf("the request was sent %d times", n)
	}
}

func TestIdempotentRequestsWhoseConnectionBreaksAreSentToAnotherPod(t *testing.T) {
	for _, tt := range []struct {
		name string
		req  func() *http.Request
	}{
		{"GET", func() *http.Request {
			req, _ := http.NewRequest(http.MethodGet, "http://quiz.kiada/", nil)
			return req
		}},
		{"POST with an Idempotency-Key", func() *http.Request {
			req, _ := http.NewRequest(http.MethodPost, "http://quiz.kiada/", strings.NewReader("hello"))
			req.Header.Set("Idempotency-Key", "1")
			return req
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bad, good := start(t, "quiz-0", breaks), start(t, "quiz-1", nil)
			client := newClient(t, serving(bad, good))
			for range 2 { // one of them meets quiz-0 first
				if got := read(t)(client.Do(tt.req())); got != "quiz-1" {
					t.Errorf("served by %s", got)
				}
			}
			if bad.requests.Load() == 0 {
				t.Error("quiz-0 was never asked")
			}
		})
	}
}

func TestAnIdempotentRequestWithABodyThatIsSpentIsNotSentAgain(t *testing.T) {
	client := newClient(t, serving(start(t, "quiz-0", breaks), start(t, "quiz-1", breaks)))
	b := newBody("hello")
	req := post(t, "http://quiz.kiada/", b)
	req.Header.Set("Idempotency-Key", "1")

	mustFail(t, io.EOF)(client.Do(req))
	b.mustBeClosedOnce(t)
}

func TestRetriesOfSentRequestsEndWithTheBudget(t *testing.T) {
	pods := []*server{start(t, "quiz-0", breaks), start(t, "quiz-1", breaks)}
	client := newClient(t, serving(pods...))

	const requests = 200
	began := time.Now()
	for range requests {
		_, err := client.Get("http://quiz.kiada/")
		if err == nil {
			t.Fatal("served")
		}
	}
	// One in five, ten a second, and ten to start with.
	allowed := int64(requests/5 + 10*(time.Since(began).Seconds()+1) + 1)
	if retries := pods[0].requests.Load() + pods[1].requests.Load() - requests; retries > allowed || retries == 0 {
		t.Errorf("%d retries of %d requests, want at most %d", retries, requests, allowed)
	}
}

func TestATimeoutOfTheResponseIsNoReasonForAnotherAttempt(t *testing.T) {
	release := make(chan struct{})
	pods := []*server{start(t, "quiz-0", waits(release)), start(t, "quiz-1", waits(release))}
	defer close(release)
	transport := newTransport(t, httpbalancer.Config{Source: serving(pods...), Base: &http.Transport{ResponseHeaderTimeout: 50 * time.Millisecond}})

	_, err := transport.RoundTrip(post(t, "http://quiz.kiada/", http.NoBody))
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("error %v, want a time-out", err)
	}
	if n := pods[0].requests.Load() + pods[1].requests.Load(); n != 1 {
		t.Errorf("the request was sent %d times", n)
	}
	if transport.Fit() != 2 {
		t.Error("a slow backend was taken out of rotation")
	}
}

// waits answers when it is released or the client gives up.
func waits(release <-chan struct{}) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
			io.WriteString(w, "released")
		case <-r.Context().Done():
		}
	}
}

func TestACallerThatGivesUpTakesNoBackendOutOfRotation(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	transport := newTransport(t, httpbalancer.Config{Source: serving(start(t, "quiz-0", waits(release)), start(t, "quiz-1", waits(release)))})
	for range 10 {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://quiz.kiada/", nil)
		resp, err := transport.RoundTrip(req)
		mustFail(t, context.DeadlineExceeded)(resp, err)
		cancel()
	}
	if n := transport.Fit(); n != 2 {
		t.Errorf("%d backends in rotation, want 2", n)
	}
}

func TestARequestWithABadBodyTakesNoBackendOutOfRotation(t *testing.T) {
	errBody := errors.New("disk on fire")
	for _, tt := range []struct {
		name   string
		body   io.Reader
		length int64
	}{
		{"that cannot be read", io.MultiReader(strings.NewReader("hello"), failing{errBody}), -1},
		{"that is too short", strings.NewReader("hello"), 10},
		{"that is too long", strings.NewReader("hello"), 3},
	} {
		transport := newTransport(t, httpbalancer.Config{Source: serving(start(t, "quiz-0", echo), start(t, "quiz-1", echo))})
		req := post(t, "http://quiz.kiada/", io.NopCloser(tt.body))
		req.ContentLength = tt.length
		req.Header.Set("Idempotency-Key", "1")
		resp, err := transport.RoundTrip(req)
		if err == nil {
			resp.Body.Close() // the server may answer before it notices
		} else if tt.length < 0 && !errors.Is(err, errBody) {
			t.Errorf("a body %s: error %v", tt.name, err)
		}
		if n := transport.Fit(); n != 2 {
			t.Errorf("a body %s: %d backends in rotation, want 2", tt.name, n)
		}
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestTheRequestsBodyIsClosedOnceWhateverHappens(t *testing.T) {
	gone0, gone1 := gone(t, "quiz-0"), gone(t, "quiz-1")
	early := func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusRequestEntityTooLarge) }
	closed := httpbalancer.New(httpbalancer.Config{Source: newSource()})
	closed.Close()
	for _, tt := range []struct {
		name      string
		transport *httpbalancer.Transport
		change    func(*http.Request)
	}{
		{"served", newTransport(t, httpbalancer.Config{Source: serving(start(t, "quiz-0", echo))}), nil},
		{"served by the second", newTransport(t, httpbalancer.Config{Source: serving(gone0, start(t, "quiz-1", echo))}), nil},
		{"answered early", newTransport(t, httpbalancer.Config{Source: serving(start(t, "quiz-0", early))}), nil},
		{"refused by all", newTransport(t, httpbalancer.Config{Source: serving(gone0, gone1)}), nil},
		{"broken", newTransport(t, httpbalancer.Config{Source: serving(start(t, "quiz-0", breaks))}), nil},
		{"no endpoints", newTransport(t, httpbalancer.Config{Source: serving()}), nil},
		{"closed", closed, nil},
		{
			"bad header", newTransport(t, httpbalancer.Config{Source: serving(start(t, "quiz-0", echo))}),
			func(r *http.Request) { r.Header["Bad\n"] = []string{""} },
		},
		{
			"cancelled", newTransport(t, httpbalancer.Config{Source: serving(start(t, "quiz-0", echo))}),
			func(r *http.Request) {
				ctx, cancel := context.WithCancel(r.Context())
				cancel()
				*r = *r.WithContext(ctx)
			},
		},
		{
			"other host", newTransport(t, httpbalancer.Config{Source: newSource()}),
			func(r *http.Request) { r.URL.Host = gone0.addr },
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for range 2 {
				b := newBody("hello")
				req := post(t, "http://quiz.kiada/", b)
				if tt.change != nil {
					tt.change(req)
				}
				if resp, err := tt.transport.RoundTrip(req); err == nil {
					resp.Body.Close()
				}
				b.mustBeClosedOnce(t)
			}
		})
	}
}

func TestBodiesFromGetBodyAreClosed(t *testing.T) {
	client := newClient(t, serving(start(t, "quiz-0", breaks), start(t, "quiz-1", breaks), start(t, "quiz-2", breaks)))
	bodies := []*body{newBody("hello")}
	req := post(t, "http://quiz.kiada/", bodies[0])
	req.Header.Set("Idempotency-Key", "1")
	req.GetBody = func() (io.ReadCloser, error) {
		b := newBody("hello")
		bodies = append(bodies, b)
		return b, nil
	}
	mustFail(t, io.EOF)(client.Do(req))
	if len(bodies) < 3 {
		t.Errorf("%d bodies for 3 pods", len(bodies))
	}
	for _, b := range bodies {
		b.mustBeClosedOnce(t)
	}
}

func TestConnectionErrorsCanBeTold(t *testing.T) {
	mustFail(t, syscall.ECONNREFUSED)(newClient(t, serving(gone(t, "quiz-0"), gone(t, "quiz-1"))).Get("http://quiz.kiada/"))
	mustFail(t, discovery.ErrNoEndpoints)(newClient(t, serving()).Get("http://quiz.kiada/"))
}
