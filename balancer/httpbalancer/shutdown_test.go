package httpbalancer_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/httpbalancer"
	"github.com/sidestep-lb/sidestep/discovery"
)

// stalling starts a pod that answers with headers, and with the rest once it may.
func stalling(t *testing.T) (pod *server, release func()) {
	t.Helper()
	released := make(chan struct{})
	pod = start(t, "quiz-0", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		<-released
		_, _ = io.WriteString(w, "hello")
	})
	release = sync.OnceFunc(func() { close(released) })
	t.Cleanup(release)
	return pod, release
}

func TestShutdownWaitsForRequestsInFlight(t *testing.T) {
	pod, release := stalling(t)
	transport := newTransport(t, httpbalancer.Config{Source: serving(pod)})
	resp, err := (&http.Client{Transport: transport}).Get("http://quiz.kiada.svc/")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- transport.Shutdown(t.Context()) }()
	eventually(t, "new requests are refused", func() bool {
		resp, err := (&http.Client{Transport: transport}).Get("http://quiz.kiada.svc/")
		if err == nil {
			resp.Body.Close()
		}
		return errors.Is(err, discovery.ErrClosed)
	})
	select {
	case err := <-ended:
		t.Errorf("Shutdown returned %v with a request in flight", err)
	default:
	}
	release()
	if text, err := io.ReadAll(resp.Body); string(text) != "hello" || err != nil {
		t.Errorf("the request in flight got %q, %v", text, err)
	}
	resp.Body.Close()
	if err := <-ended; err != nil {
		t.Errorf("Shutdown returned %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := transport.Shutdown(ctx); err != nil {
		t.Errorf("a later Shutdown returned %v", err)
	}
}

func TestShutdownReturnsWithItsContextAndRequestsInFlightGoOn(t *testing.T) {
	pod, release := stalling(t)
	transport := newTransport(t, httpbalancer.Config{Source: serving(pod)})
	resp, err := (&http.Client{Transport: transport}).Get("http://quiz.kiada.svc/")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := transport.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown returned %v", err)
	}
	release()
	if text, err := io.ReadAll(resp.Body); string(text) != "hello" || err != nil {
		t.Errorf("the request in flight got %q, %v", text, err)
	}
	resp.Body.Close()
	if err := transport.Close(); err != nil {
		t.Errorf("Close returned %v", err)
	}
}

// A logBuffer may be read while it is written.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func TestATransportHasALoggerAndANameOfItsOwn(t *testing.T) {
	pod := start(t, "quiz-0", nil)
	var log logBuffer
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	source := serving(pod)
	for _, name := range []string{"patient", "hasty"} {
		get(t, &http.Client{Transport: newTransport(t, httpbalancer.Config{Name: name, Logger: logger, Source: source})}, "http://quiz.kiada.svc/")
	}
	var names []string
	for _, s := range balancer.Statuses() {
		names = append(names, s.Client)
	}
	if got := strings.Join(names, " "); got != "hasty patient" {
		t.Errorf("the clients are %s", got)
	}
	eventually(t, "both have logged", func() bool {
		return strings.Contains(log.String(), "client=hasty") && strings.Contains(log.String(), "client=patient")
	})
}
