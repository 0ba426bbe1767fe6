package httpbalancer_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/httpbalancer"
	"github.com/sidestep-lb/sidestep/health"
)

// outcomes sums up what became of the attempts, by the outcome.
func outcomes() (sum balancer.Outcomes) {
	for _, s := range balancer.Statuses() {
		for _, o := range s.Requests {
			for i, n := range o {
				sum[i] += n
			}
		}
	}
	return sum
}

// mustHoldNothing fails if anything was held against a backend.
func mustHoldNothing(t testing.TB) {
	t.Helper()
	sum := outcomes()
	if n := sum[health.Failure] + sum[health.Timeout] + sum[health.Unreachable]; n != 0 {
		t.Errorf("held against backends: %d failures, %d time-outs, %d times unreachable", sum[health.Failure], sum[health.Timeout], sum[health.Unreachable])
	}
	for _, s := range balancer.Statuses() {
		for cause, n := range s.Counts.Ejections {
			if n > 0 {
				t.Errorf("%d ejections because of %v", n, cause)
			}
		}
	}
}

// over are the protocols that most tests are for.
var over = map[string]func() *http.Protocols{"HTTP/1": func() *http.Protocols { return nil }, "h2c": h2c}

func TestNothingIsSentForACallerThatHasGivenUp(t *testing.T) {
	for name, protocols := range over {
		t.Run(name, func(t *testing.T) {
			var posts counted
			pod := startWith(t, "quiz-0", func(_ http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				if r.Method == http.MethodPost {
					posts.Add(1)
				}
			}, protocols())
			var dials dialCounter
			transport := newTransport(t, httpbalancer.Config{Source: serving(pod), Protocols: protocols(), Base: &http.Transport{DialContext: dials.dial}})
			get(t, &http.Client{Transport: transport}, "http://quiz.kiada/")
			cause := errors.New("the shop has closed")
			ended := map[string]func(r *http.Request) (*http.Request, error){
				"cancelled": func(r *http.Request) (*http.Request, error) {
					ctx, cancel := context.WithCancel(r.Context())
					cancel()
					return r.WithContext(ctx), context.Canceled
				},
				"cancelled for a reason": func(r *http.Request) (*http.Request, error) {
					ctx, cancel := context.WithCancelCause(r.Context())
					cancel(cause)
					return r.WithContext(ctx), cause
				},
				"too late": func(r *http.Request) (*http.Request, error) {
					ctx, cancel := context.WithDeadline(r.Context(), time.Now().Add(-time.Second))
					t.Cleanup(cancel)
					return r.WithContext(ctx), context.DeadlineExceeded
				},
				"by Request.Cancel": func(r *http.Request) (*http.Request, error) {
					c := make(chan struct{})
					close(c)
					setCancel(r, c)
					return r, context.Canceled
				},
			}
			for way, end := range ended {
				for range 20 {
					b := newBody("one")
					req, want := end(post(t, "http://quiz.kiada/buy", b))
					resp, err := transport.RoundTrip(req)
					if err == nil {
						resp.Body.Close()
					}
					if !errors.Is(err, want) {
						t.Fatalf("%s: error %v", way, err)
					}
					b.mustBeClosedOnce(t)
				}
			}
			get(t, &http.Client{Transport: transport}, "http://quiz.kiada/")
			if got := posts.Load(); got != 0 {
				t.Errorf("the pod processed %d POSTs", got)
			}
			if got := dials.dials.Load(); got != 1 {
				t.Errorf("%d connections were made", got)
			}
			mustHoldNothing(t)
		})
	}
}

// A caller that gives up while the first pod fails is not given to the second.
func TestNothingIsSentBetweenTwoAttemptsOfACallerThatHasGivenUp(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	first := start(t, "quiz-0", func(http.ResponseWriter, *http.Request) {
		cancel()
		panic(http.ErrAbortHandler)
	})
	second := start(t, "quiz-1", nil)
	transport := newTransport(t, httpbalancer.Config{Source: serving(first, second)})
	for first.requests.Load() == 0 {
		before := second.requests.Load()
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://quiz.kiada/", nil)
		resp, err := transport.RoundTrip(req)
		if first.requests.Load() == 0 {
			read(t)(resp, err)
			continue
		}
		mustFail(t, context.Canceled)(resp, err)
		if n := second.requests.Load() - before; n != 0 {
			t.Errorf("the second pod got %d requests", n)
		}
	}
}

func TestWaitingForAConnectionOfOnesOwnIsHeldAgainstNobody(t *testing.T) {
	for name, protocols := range over {
		t.Run(name, func(t *testing.T) {
			release := make(chan struct{})
			pods := []*server{startWith(t, "quiz-0", waits(release), protocols()), startWith(t, "quiz-1", waits(release), protocols())}
			for _, p := range pods {
				p.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: 1}
			}
			transport := newTransport(t, httpbalancer.Config{Source: serving(pods...), Protocols: protocols(), Base: &http.Transport{MaxConnsPerHost: 1}})
			held := make(chan error)
			for range pods {
				go func() {
					resp, err := (&http.Client{Transport: transport}).Get("http://quiz.kiada/")
					if err == nil {
						resp.Body.Close()
					}
					held <- err
				}()
			}
			eventually(t, "both connections are taken", func() bool { return requestsOf(pods) == 2 })
			for i := range 20 {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
				want := context.DeadlineExceeded
				if i%2 == 0 {
					cancel()
					ctx, cancel = context.WithCancel(t.Context())
					time.AfterFunc(2*time.Millisecond, cancel)
					want = context.Canceled
				}
				b := newBody("hello")
				resp, err := transport.RoundTrip(post(t, "http://quiz.kiada/", b).WithContext(ctx))
				mustFail(t, want)(resp, err)
				cancel()
				b.mustBeClosedOnce(t)
			}
			close(release)
			for range pods {
				if err := <-held; err != nil {
					t.Error(err)
				}
			}
			if n := requestsOf(pods); n != 2 {
				t.Errorf("the pods got %d requests", n)
			}
			mustHoldNothing(t)
		})
	}
}

// A pod far away is no bad pod. One that cannot be reached is found out by the dial.
func TestADeadlineDuringADialIsHeldAgainstNobodyUnlessTheDialFails(t *testing.T) {
	for _, fails := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var n network
			n.set("10.0.0.1:80", web(nil))
			transport := httpbalancer.New(httpbalancer.Config{
				Balancer: balancer.Config{Policy: balancer.RoundRobin},
				Source:   at("10.0.0.1:80"),
				Base: &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
					time.Sleep(time.Second) // of virtual time
					if fails {
						return nil, &net.OpError{Op: "dial", Err: syscall.ETIMEDOUT}
					}
					return n.dial(ctx, network, addr)
				}},
			})
			defer transport.Close()
			for range 9 {
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://quiz.kiada/", nil)
				mustFail(t, context.DeadlineExceeded)(transport.RoundTrip(req))
				cancel()
			}
			if sum := outcomes(); sum[health.Timeout] != 0 {
				t.Errorf("%d time-outs", sum[health.Timeout])
			}
			if !fails {
				mustHoldNothing(t)
				get(t, &http.Client{Transport: transport}, "http://quiz.kiada/")
			}
		})
	}
}

// What is not sent within the time for a try goes elsewhere for nothing, and the
// pod that was not asked has done nothing.
func TestATryThatWaitsForAConnectionGoesElsewhereForFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n network
		n.set("10.0.0.2:80", web(nil))
		hangs := func(ctx context.Context, network, addr string) (net.Conn, error) {
			if addr == "10.0.0.1:80" {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return n.dial(ctx, network, addr)
		}
		transport := httpbalancer.New(httpbalancer.Config{
			Balancer: balancer.Config{Policy: balancer.RoundRobin},
			Source:   at("10.0.0.1:80", "10.0.0.2:80"),
			Base:     &http.Transport{DialContext: hangs},
			Retry:    httpbalancer.Retry{TryTimeout: 10 * time.Millisecond, MaxAttempts: 2},
		})
		defer transport.Close()
		for range 200 { // many more than the budget has
			get(t, &http.Client{Transport: transport}, "http://quiz.kiada/")
		}
		mustHoldNothing(t)
	})
}

// A node dies: dials to its pod end by a time-out, long after the time for a try.
// Meanwhile the other pod is slow, so that tries are given up there, too, and spend
// the budget. No request fails that was never sent.
func TestTriesThatAreGivenUpInVainCostNeitherAPodNorAnAttempt(t *testing.T) {
	for _, attempts := range []int{0, 2} {
		synctest.Test(t, func(t *testing.T) {
			n := pipes{}
			transport := httpbalancer.New(httpbalancer.Config{
				Balancer: balancer.Config{Policy: balancer.RoundRobin, MaxEjectedPercent: -1},
				Source:   at("10.0.0.1:80", "10.0.0.2:80"),
				Base: &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
					if addr == "10.0.0.1:80" {
						time.Sleep(400 * time.Millisecond) // of virtual time
						return nil, &net.OpError{Op: "dial", Net: network, Err: os.ErrDeadlineExceeded}
					}
					time.Sleep(120 * time.Millisecond) // of virtual time
					return n.dial(ctx, network, addr)
				}},
				Retry: httpbalancer.Retry{TryTimeout: 100 * time.Millisecond, MaxAttempts: attempts},
			})
			defer transport.Close()
			answers := make(chan error, 200)
			for range cap(answers) {
				go func() {
					resp, err := (&http.Client{Transport: transport}).Get("http://quiz.kiada/")
					if err == nil {
						_, err = io.Copy(io.Discard, resp.Body)
						resp.Body.Close()
					}
					answers <- err
				}()
			}
			for range cap(answers) {
				if err := <-answers; err != nil {
					t.Errorf("MaxAttempts %d: %v", attempts, err)
				}
			}
			synctest.Wait()
			if n := transport.InFlight(); n != 0 {
				t.Errorf("%d in flight", n)
			}
		})
	}
}

// In the moments in which the only fit pod refuses, the rotation has nobody else,
// though another could take the request.
func TestNoRequestFailsBeforeTheRotationHasTheOtherPod(t *testing.T) {
	for range 20 {
		failing := start(t, "quiz-0", fails(http.StatusInternalServerError))
		dying := start(t, "quiz-1", nil)
		transport := newTransport(t, httpbalancer.Config{Source: serving(failing, dying), Balancer: balancer.Config{Policy: balancer.RoundRobin, MaxEjectedPercent: 100}})
		eventually(t, "quiz-0 is ejected", func() bool {
			status(t, transport, "http://quiz.kiada/")
			return transport.Fit() == 1
		})
		dying.Close()
		resp, err := transport.RoundTrip(post(t, "http://quiz.kiada/", io.NopCloser(strings.NewReader("hello"))))
		if err != nil {
			t.Fatalf("with a pod that can be reached: %v", err)
		}
		resp.Body.Close()
	}
}
