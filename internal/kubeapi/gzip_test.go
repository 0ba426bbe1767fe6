package kubeapi

import (
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// compressed writes one gzip member and flushes it, as an API server does.
func compressed(w http.ResponseWriter, content string) {
	z := gzip.NewWriter(w)
	_, _ = io.WriteString(z, content)
	_ = z.Flush()
	_ = z.Close()
	_ = http.NewResponseController(w).Flush()
}

func TestAListCanComeCompressed(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") != "gzip" {
			t.Errorf("Accept-Encoding: %q", r.Header.Get("Accept-Encoding"))
		}
		w.Header().Set("Content-Encoding", "gzip")
		compressed(w, listOf("7", "a", "b").body)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	lw := reader{Client: inPod(t, server, account(t, server, "secret"))}
	tr := &transcript{}
	if err := lw.list(t.Context(), Timing{}.withDefaults(), &progress{}, &typed[*EndpointSlice]{Handler: tr}); err != nil || tr.text() != "replace a b" {
		t.Errorf("calls %s, error %v", tr.text(), err)
	}
}

// Since Kubernetes 1.37 the stream of a streaming list is compressed, each event
// by itself (WatchListCompression). None may wait for the next.
func TestEachEventOfACompressedStreamIsHandedOnAsItComes(t *testing.T) {
	next := make(chan struct{})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		compressed(w, eventOf("ADDED", "a", "3"))
		for _, event := range []string{endOf("7"), eventOf("ADDED", "b", "8"), eventOf("ADDED", strings.Repeat("c", 100_000), "9")} {
			compressed(w, event)
			select {
			case <-next:
			case <-r.Context().Done():
				return
			}
		}
		<-r.Context().Done()
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()

	ctx, cancel := context.WithTimeout(t.Context(), endSilence-time.Second)
	defer cancel()
	steps := stepper{next: next, left: 3, done: cancel}
	lw := ListWatch[*EndpointSlice]{Client: inPod(t, server, account(t, server, "secret"))}
	lw.Run(ctx, &steps)
	if steps.left > 0 {
		t.Errorf("%d events did not come", steps.left)
	}
}

// A stepper is a Handler that lets the server go on when an event has come.
type stepper struct {
	next chan<- struct{}
	left int
	done func()
}

func (s *stepper) step() {
	if s.left--; s.left == 0 {
		s.done()
		return
	}
	s.next <- struct{}{}
}

func (s *stepper) Replace([]*EndpointSlice)     { s.step() }
func (s *stepper) Apply(string, *EndpointSlice) { s.step() }
func (s *stepper) Failed(error)                 {}
func (s *stepper) Healthy()                     {}
