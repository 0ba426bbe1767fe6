package httpbalancer_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/httpbalancer"
)

// goroutinesIn counts the goroutines in a function.
func goroutinesIn(function string) int {
	var all strings.Builder
	pprof.Lookup("goroutine").WriteTo(&all, 2)
	return strings.Count(all.String(), function+"(")
}

// setCancel sets Request.Cancel.
func setCancel(r *http.Request, c <-chan struct{}) {
	r.Cancel = c //nolint:staticcheck // deprecated, yet http.Client sets it
}

// http.Client with a Timeout sets Request.Cancel, and so do callers from before
// there were contexts. The end of the context is hours away.
func TestNothingWaitsForTheEndOfACallerWhoseAttemptHasFailed(t *testing.T) {
	for name, protocols := range over {
		t.Run(name, func(t *testing.T) {
			crashing := raw(t, "quiz-0", func(conn *net.TCPConn) { requests(conn, func(*http.Request, []byte) bool { return false }) })
			good := startWith(t, "quiz-1", nil, protocols())
			transport := newTransport(t, httpbalancer.Config{
				Source: serving(crashing, good), Protocols: protocols(),
				Balancer: balancer.Config{Policy: balancer.RoundRobin, MaxEjectedPercent: -1},
			})
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			for range 20 {
				req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://quiz.kiada/", nil)
				setCancel(req, make(chan struct{}))
				read(t)((&http.Client{Transport: transport, Timeout: time.Hour}).Do(req))
			}
			for _, f := range []string{"net/http.awaitLegacyCancel", "awaitCancel"} {
				eventually(t, "nobody is left in "+f, func() bool { return goroutinesIn(f) == 0 })
			}
		})
	}
}

func TestRequestCancelEndsTheWaitAndTheBody(t *testing.T) {
	for name, protocols := range over {
		t.Run(name, func(t *testing.T) {
			release := make(chan struct{})
			defer close(release)
			pod := startWith(t, "quiz-0", func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/stream" {
					streams(release)(w, r)
					return
				}
				waits(release)(w, r)
			}, protocols())
			transport := newTransport(t, httpbalancer.Config{Source: serving(pod), Protocols: protocols()})
			cancel := make(chan struct{})
			req := post(t, "http://quiz.kiada/", http.NoBody)
			setCancel(req, cancel)
			time.AfterFunc(10*time.Millisecond, func() { close(cancel) })
			resp, err := transport.RoundTrip(req)
			mustFail(t, context.Canceled)(resp, err)

			cancel = make(chan struct{})
			req = post(t, "http://quiz.kiada/stream", http.NoBody)
			setCancel(req, cancel)
			resp, err = transport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			time.AfterFunc(10*time.Millisecond, func() { close(cancel) })
			if _, err := io.ReadAll(resp.Body); err == nil {
				t.Error("the body ended well")
			}
			resp.Body.Close()
			eventually(t, "nothing is in flight", func() bool { return transport.InFlight() == 0 })
			mustHoldNothing(t)
		})
	}
}

// After 101 the caller has the connection, for as long as it likes.
func TestTheContextOfAnUpgradedRequestHasNoMoreSay(t *testing.T) {
	for _, way := range []string{"context", "Cancel"} {
		pod := start(t, "quiz-0", shout)
		transport := newTransport(t, httpbalancer.Config{Source: serving(pod)})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		req := request(t, func(r *http.Request) {
			r.Header.Set("Connection", "Upgrade")
			r.Header.Set("Upgrade", "shout")
		}).WithContext(ctx)
		legacy := make(chan struct{})
		if way == "Cancel" {
			setCancel(req, legacy)
		}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		close(legacy)
		stream := resp.Body.(io.ReadWriteCloser)
		lines := bufio.NewReader(stream)
		for range 20 {
			<-time.After(time.Millisecond) // in which nothing should happen to it
			io.WriteString(stream, "hello\n")
			if line, err := lines.ReadString('\n'); line != "HELLO\n" {
				t.Fatalf("by %s: read %q, %v", way, line, err)
			}
		}
		stream.Close()
		if n := transport.InFlight(); n != 0 {
			t.Errorf("%d in flight after Close", n)
		}
	}
}

// An io.Pipe's writer waits until its reader is closed. http.ClientConn leaves it
// open in some of these cases.
func TestTheWriterOfAPipeIsReleasedHoweverTheRequestEnds(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	early := func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusTeapot) }
	for name, protocols := range over {
		for way, tt := range map[string]struct {
			pod    *server
			change func(r *http.Request) *http.Request
		}{
			"refused":         {gone(t, "quiz-0"), nil},
			"broken":          {raw(t, "quiz-0", func(conn *net.TCPConn) { conn.Read(make([]byte, 10)) }), nil},
			"answered early":  {startWith(t, "quiz-0", early, protocols()), nil},
			"invalid":         {startWith(t, "quiz-0", echo, protocols()), func(r *http.Request) *http.Request { r.Method = "BAD METHOD"; return r }},
			"ended before":    {startWith(t, "quiz-0", echo, protocols()), withTimeout(t, 0)},
			"ended meanwhile": {startWith(t, "quiz-0", waits(release), protocols()), withTimeout(t, 20*time.Millisecond)},
			"by Cancel": {startWith(t, "quiz-0", waits(release), protocols()), func(r *http.Request) *http.Request {
				c := make(chan struct{})
				time.AfterFunc(20*time.Millisecond, func() { close(c) })
				setCancel(r, c)
				return r
			}},
		} {
			t.Run(name+", "+way, func(t *testing.T) {
				transport := newTransport(t, httpbalancer.Config{Source: serving(tt.pod), Protocols: protocols(), Base: &http.Transport{MaxConnsPerHost: 1}})
				r, w := io.Pipe()
				written := make(chan error, 1)
				go func() {
					var err error
					for err == nil {
						_, err = w.Write(make([]byte, 1000))
					}
					written <- err
				}()
				req := post(t, "http://quiz.kiada/", r)
				if tt.change != nil {
					req = tt.change(req)
				}
				resp, err := transport.RoundTrip(req)
				if err == nil {
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
				select {
				case err := <-written:
					if !errors.Is(err, io.ErrClosedPipe) {
						t.Error(err)
					}
				case <-time.After(patience):
					t.Fatal("the writer still waits")
				}
			})
		}
	}
}

// A pipe that nobody writes to delays nobody who gives up.
func TestACallerThatGivesUpDoesNotWaitForItsOwnBody(t *testing.T) {
	for name, protocols := range over {
		t.Run(name, func(t *testing.T) {
			transport := newTransport(t, httpbalancer.Config{Source: serving(startWith(t, "quiz-0", echo, protocols())), Protocols: protocols()})
			r, _ := io.Pipe()
			resp, err := transport.RoundTrip(withTimeout(t, 20*time.Millisecond)(post(t, "http://quiz.kiada/", r)))
			mustFail(t, context.DeadlineExceeded)(resp, err)
			eventually(t, "nothing is in flight", func() bool { return transport.InFlight() == 0 })
		})
	}
}

func withTimeout(t testing.TB, d time.Duration) func(r *http.Request) *http.Request {
	return func(r *http.Request) *http.Request {
		ctx, cancel := context.WithTimeout(r.Context(), d)
		t.Cleanup(cancel)
		return r.WithContext(ctx)
	}
}
