package httpbalancer_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/sidestep-lb/sidestep/balancer/httpbalancer"
)

// streams sends a byte and then waits until it is released.
func streams(release <-chan struct{}) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "x")
		w.(http.Flusher).Flush()
		waits(release)(w, r)
	}
}

func TestARequestIsInFlightUntilItsBodyEnds(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(t *testing.T, resp *http.Response, release chan struct{}, cancel func())
	}{
		{"at its end", func(t *testing.T, resp *http.Response, release chan struct{}, _ func()) {
			close(release)
			if got, err := io.ReadAll(resp.Body); err != nil || string(got) != "xreleased" {
				t.Errorf("body %q, %v", got, err)
			}
		}},
		{"by Close", func(_ *testing.T, resp *http.Response, _ chan struct{}, _ func()) { resp.Body.Close() }},
		{"by the caller's context", func(t *testing.T, resp *http.Response, _ chan struct{}, cancel func()) {
			cancel()
			if _, err := io.ReadAll(resp.Body); err == nil {
				t.Error("the body ended well")
			}
		}},
	} {
		for _, http2 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, http2=%v", tt.name, http2), func(t *testing.T) {
				release := make(chan struct{})
				base, protocols := &http.Transport{}, (*http.Protocols)(nil)
				if http2 {
					protocols = h2c()
					base.Protocols = protocols
				}
				s := serving(startWith(t, "quiz-0", streams(release), protocols))
				transport := newTransport(t, httpbalancer.Config{Source: s, Base: base})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://quiz.kiada/", nil)
				resp, err := transport.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				if n := transport.InFlight(); n != 1 {
					t.Errorf("%d in flight, want 1", n)
				}
				tt.end(t, resp, release, cancel)
				if n := transport.InFlight(); n != 0 {
					t.Errorf("%d in flight after the end, want 0", n)
				}
				resp.Body.Close()
				if n := transport.InFlight(); n != 0 {
					t.Errorf("%d in flight after another Close, want 0", n)
				}
			})
		}
	}
}

func TestInFlightSurvivesUpdates(t *testing.T) {
	release := make(chan struct{})
	pod := start(t, "quiz-0", streams(release))
	s := serving(pod)
	transport := newTransport(t, httpbalancer.Config{Source: s})
	resp, err := (&http.Client{Transport: transport}).Get("http://quiz.kiada/")
	if err != nil {
		t.Fatal(err)
	}
	s.publish(pod, start(t, "quiz-1", nil))
	eventually(t, "the update arrives", func() bool { return transport.Fit() == 2 })
	if n := transport.InFlight(); n != 1 {
		t.Errorf("%d in flight, want 1", n)
	}
	close(release)
	read(t)(resp, nil)
	if n := transport.InFlight(); n != 0 {
		t.Errorf("%d in flight after the end, want 0", n)
	}
}

func TestResponsesWithoutABodyAreNotInFlight(t *testing.T) {
	for _, protocols := range []*http.Protocols{nil, h2c()} {
		transport := newTransport(t, httpbalancer.Config{
			Source: serving(startWith(t, "quiz-0", func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/204" {
					w.WriteHeader(http.StatusNoContent)
				}
				if r.URL.Path == "/304" {
					w.WriteHeader(http.StatusNotModified)
				}
			}, protocols)),
			Base: &http.Transport{Protocols: protocols},
		})
		for _, tt := range []struct{ method, path string }{{"HEAD", "/"}, {"GET", "/204"}, {"GET", "/304"}, {"GET", "/empty"}} {
			req, _ := http.NewRequest(tt.method, "http://quiz.kiada"+tt.path, nil)
			resp, err := transport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			if n := transport.InFlight(); n != 0 {
				t.Errorf("%s %s %s: %d in flight", resp.Proto, tt.method, tt.path, n)
			}
			resp.Body.Close()
		}
	}
}

func TestAnUpgradedConnectionIsInFlightUntilItIsClosed(t *testing.T) {
	pod := start(t, "quiz-0", func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		io.WriteString(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\n")
		rw.Flush()
		line, _ := rw.ReadString('\n')
		io.WriteString(conn, strings.ToUpper(line))
		io.Copy(conn, conn)
	})
	transport := newTransport(t, httpbalancer.Config{Source: serving(pod)})
	req, _ := http.NewRequest(http.MethodGet, "http://quiz.kiada/", nil)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "shout")
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	stream, ok := resp.Body.(io.ReadWriteCloser)
	if !ok {
		t.Fatalf("the body, a %T, cannot be written to", resp.Body)
	}
	io.WriteString(stream, "hello\n")
	if line, err := bufio.NewReader(stream).ReadString('\n'); line != "HELLO\n" {
		t.Errorf("read %q, %v", line, err)
	}
	stream.(interface{ CloseWrite() error }).CloseWrite()
	io.Copy(io.Discard, stream)
	if n := transport.InFlight(); n != 1 {
		t.Errorf("%d in flight, want 1", n)
	}
	stream.Close()
	if n := transport.InFlight(); n != 0 {
		t.Errorf("%d in flight after Close, want 0", n)
	}
}

func TestTrailersArriveWithTheEndOfTheBody(t *testing.T) {
	for _, protocols := range []*http.Protocols{nil, h2c()} {
		transport := newTransport(t, httpbalancer.Config{
			Source: serving(startWith(t, "quiz-0", func(w http.ResponseWriter, r *http.Request) {
				io.WriteString(w, "hello")
				w.(http.Flusher).Flush()
				w.Header().Set(http.TrailerPrefix+"Checksum", "42")
			}, protocols)),
			Base: &http.Transport{Protocols: protocols},
		})
		resp, err := (&http.Client{Transport: transport}).Get("http://quiz.kiada/")
		read(t)(resp, err)
		if got := resp.Trailer.Get("Checksum"); got != "42" {
			t.Errorf("%s: trailer %q, want 42", resp.Proto, got)
		}
	}
}
