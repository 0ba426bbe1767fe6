package httpbalancer_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/httpbalancer"
)

// What a server says it has not processed, in all the ways that it has of saying
// so (RFC 9113, sections 6.8 and 8.7).
var refusals = map[string]func(c *h2Conn, stream uint32){
	"REFUSED_STREAM":                       func(c *h2Conn, stream uint32) { c.reset(stream, 7) },
	"GOAWAY, NO_ERROR":                     func(c *h2Conn, _ uint32) { c.goAway(0, 0) },
	"GOAWAY, INTERNAL_ERROR":               func(c *h2Conn, _ uint32) { c.goAway(0, 2) },
	"GOAWAY, ENHANCE_YOUR_CALM":            func(c *h2Conn, _ uint32) { c.goAway(0, 11) },
	"GOAWAY of a code that nobody defined": func(c *h2Conn, _ uint32) { c.goAway(0, 0xabcd) },
	"GOAWAY, and the connection closed": func(c *h2Conn, _ uint32) {
		c.goAway(0, 0)
		c.Conn.(*net.TCPConn).CloseWrite()
	},
	"two GOAWAYs": func(c *h2Conn, _ uint32) {
		c.goAway(1<<31-1, 0)
		c.goAway(0, 0)
	},
}

// PROTOCOL_ERROR is what some servers say to one stream too many, and no promise that
// it was not processed.
func TestAfterAProtocolErrorOnlyWhatMayBeSentTwiceIsSentAgain(t *testing.T) {
	bad := raw(t, "quiz-0", func(conn *net.TCPConn) {
		c := h2(conn)
		c.streams(func(stream uint32) bool {
			c.reset(stream, 1)
			return true
		})
	})
	good := startWith(t, "quiz-1", echo, h2c())
	transport := newTransport(t, httpbalancer.Config{Source: serving(bad, good), Protocols: h2c()})
	failed := 0
	for range 20 {
		status(t, transport, "http://quiz.kiada/")
		resp, err := transport.RoundTrip(post(t, "http://quiz.kiada/", newBody("once")))
		if err != nil {
			failed++
			continue
		}
		resp.Body.Close()
	}
	if failed == 0 {
		t.Error("no POST failed: those that met the first pod were sent twice")
	}
}

// Bodies that can be sent once only are sent elsewhere as long as they are known.
func TestWhatAServerSaysItDidNotProcessFailsNoRequest(t *testing.T) {
	for name, refuse := range refusals {
		t.Run(name, func(t *testing.T) {
			var refused counted
			bad := raw(t, "quiz-0", func(conn *net.TCPConn) {
				c := h2(conn)
				c.streams(func(stream uint32) bool {
					refused.Add(1)
					refuse(c, stream)
					return true
				})
			})
			good := startWith(t, "quiz-1", echo, h2c())
			transport := newTransport(t, httpbalancer.Config{Source: serving(bad, good), Protocols: h2c()})
			var all sync.WaitGroup
			for i := range 40 {
				all.Go(func() {
					text := strings.Repeat("x", i*500)
					b := newBody(text)
					if got := read(t)(transport.RoundTrip(post(t, "http://quiz.kiada/", b))); got != text {
						t.Errorf("%d bytes came back of %d", len(got), len(text))
					}
					b.mustBeClosedOnce(t)
				})
			}
			all.Wait()
			if refused.Load() == 0 {
				t.Error("nothing was refused")
			}
			mustHoldNothing(t)
		})
	}
}

// A server that refuses everything is not asked a thousand times a second, and not
// for ever.
func TestAttemptsThatAreRefusedArePaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n network
		refused := 0
		n.set("10.0.0.1:80", func(c net.Conn) { refuseStreams(c, &refused) })
		transport := virtual(at("10.0.0.1:80"), &n, h2c())
		defer transport.Close()

		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		began := time.Now()
		mustFail(t, context.DeadlineExceeded)(transport.RoundTrip(post(t, "http://quiz.kiada/", newBody("hello")).WithContext(ctx)))
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("it took %v, with time for 10 s", took)
		}
		if refused < 50 || refused > 300 {
			t.Errorf("%d attempts in 10 s", refused)
		}
		resp, err := transport.RoundTrip(post(t, "http://quiz.kiada/", newBody("hello"))) // without a deadline
		if err == nil {
			resp.Body.Close()
			t.Fatal("served")
		}
		if took := time.Since(began); took > 2*time.Minute || !strings.Contains(err.Error(), "REFUSED_STREAM") {
			t.Errorf("after %v: %v", took, err)
		}
		synctest.Wait()
		if n := transport.InFlight(); n != 0 || transport.Fit() != 1 {
			t.Errorf("%d in flight, %d fit", n, transport.Fit())
		}
	})
}

func TestWithOneAttemptThereIsNoOtherWhateverTheServerSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n network
		refused := 0
		n.set("10.0.0.1:80", func(c net.Conn) { refuseStreams(c, &refused) })
		transport := httpbalancer.New(httpbalancer.Config{
			Source: at("10.0.0.1:80"), Protocols: h2c(),
			Base: &http.Transport{DialContext: n.dial}, Retry: httpbalancer.Retry{MaxAttempts: 1},
		})
		defer transport.Close()
		resp, err := transport.RoundTrip(post(t, "http://quiz.kiada/", http.NoBody))
		if err == nil {
			resp.Body.Close()
		}
		if err == nil || refused != 1 {
			t.Errorf("%d attempts, error %v", refused, err)
		}
	})
}

// A burst that pods have too few streams for is served, one request after the
// other, wherever they are.
func TestABurstOnPodsThatAllowForFewStreamsIsServed(t *testing.T) {
	for _, distance := range []time.Duration{0, 5 * time.Millisecond} {
		for _, limit := range []int{1, 8} {
			t.Run(fmt.Sprintf("%d streams, %v away", limit, distance), func(t *testing.T) {
				near := startWith(t, "quiz-0", slowly, h2c())
				near.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: limit}
				transport := newTransport(t, httpbalancer.Config{Source: serving(distant(t, near, distance)), Protocols: h2c(), Base: &http.Transport{MaxConnsPerHost: 2}})
				var all sync.WaitGroup
				for range 8 * limit {
					all.Go(func() {
						if got := read(t)(transport.RoundTrip(post(t, "http://quiz.kiada/", newBody("hello")))); got != "slow" {
							t.Errorf("answer %q", got)
						}
					})
				}
				all.Wait()
				mustHoldNothing(t)
			})
		}
	}
}

// With TLS 1.3 a client learns only after it has sent its request that the server
// wants no such client. The server has read nothing then.
func TestARequestThatATLSAlertAnswersGoesToAnotherPod(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		picky := httptest.NewUnstartedServer(http.HandlerFunc(echo))
		picky.EnableHTTP2 = http2
		picky.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS13}
		picky.Config.ErrorLog = quiet
		picky.StartTLS()
		good := httptest.NewUnstartedServer(http.HandlerFunc(echo))
		good.EnableHTTP2 = http2
		good.StartTLS()
		pods := []*server{{name: "picky", addr: picky.Listener.Addr().String()}, {name: "good", addr: good.Listener.Addr().String()}}
		base := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: http2}
		transport := newTransport(t, httpbalancer.Config{Source: serving(pods...), Base: base})
		var why []balancer.Reason
		for i := range 10 {
			trace := new(balancer.Trace)
			b := newBody(fmt.Sprint("POST ", i))
			req := post(t, "https://quiz.kiada/", b)
			resp, err := transport.RoundTrip(req.WithContext(balancer.WithTrace(req.Context(), trace)))
			if err != nil {
				if strings.Contains(err.Error(), "broken pipe") || strings.Contains(err.Error(), "connection reset") {
					continue // the alert was lost: the server had closed the connection when the request came
				}
				t.Fatalf("HTTP/2 %v: %v after %v", http2, err, reasons(trace))
			}
			if got := read(t)(resp, err); got != fmt.Sprint("POST ", i) {
				t.Errorf("answer %q", got)
			}
			b.mustBeClosedOnce(t)
			why = append(why, reasons(trace)...)
		}
		if !slices.Contains(why, balancer.Refused) && !slices.Contains(why, balancer.NotSent) {
			t.Errorf("HTTP/2 %v: attempts for the reasons %q", http2, why)
		}
		picky.Close()
		good.Close()
	}
}

// A server that stops reads no more, also of bodies that come slowly.
func TestABodyThatIsBeingReadWhenItsStreamIsRefusedIsNotLost(t *testing.T) {
	refusing := raw(t, "quiz-0", func(conn *net.TCPConn) {
		c := h2(conn)
		c.streams(func(stream uint32) bool {
			c.reset(stream, 7)
			return true
		})
	})
	transport := newTransport(t, httpbalancer.Config{Source: serving(refusing, startWith(t, "quiz-1", echo, h2c())), Protocols: h2c()})
	for range 20 {
		text := strings.Repeat("x", 3000)
		if got := read(t)(transport.RoundTrip(post(t, "http://quiz.kiada/", io.NopCloser(&slowReader{strings.NewReader(text)})))); got != text {
			t.Errorf("%d bytes came back", len(got))
		}
	}
}

// A slowReader takes a moment for each Read.
type slowReader struct{ r io.Reader }

func (s *slowReader) Read(p []byte) (int, error) {
	<-time.After(200 * time.Microsecond)
	return s.r.Read(p[:min(len(p), 1000)])
}
