package httpbalancer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/httpbalancer"
)

// A POST on a connection that the server has closed while it was idle was never
// sent. Pitfall 11; go.dev/issue/22158 is about clients that cannot know.
func TestAPostOnAConnectionThatTheServerHasClosedGoesElsewhere(t *testing.T) {
	var seen tally
	closed := make(chan struct{}, 100)
	serve := func(conn *net.TCPConn) {
		requests(conn, func(_ *http.Request, body []byte) bool {
			seen.add(string(body))
			say(conn, "ok")
			return false // without a word, as when an idle time-out is over
		})
		conn.Close()
		closed <- struct{}{}
	}
	transport := newTransport(t, httpbalancer.Config{Source: serving(raw(t, "quiz-0", serve), raw(t, "quiz-1", serve))})
	client := &http.Client{Transport: transport}
	for i := range 50 {
		id := fmt.Sprint(i)
		if got := read(t)(client.Post("http://quiz.kiada/", "text/plain", onceBody(id))); got != "ok" {
			t.Fatalf("answer %q", got)
		}
		if n := seen.of(id); n != 1 {
			t.Errorf("request %s was processed %d times", id, n)
		}
		<-closed
	}
	if n := transport.Fit(); n != 2 {
		t.Errorf("%d backends in rotation, want 2: a connection that ended says nothing of its backend", n)
	}
}

// A brittle connection takes one request. After the answer a write fails, and
// nothing of it is sent.
type brittle struct {
	net.Conn
	answered atomic.Bool
}

func (c *brittle) Write(p []byte) (int, error) {
	if c.answered.Load() {
		return 0, &net.OpError{Op: "write", Err: syscall.EPIPE}
	}
	return c.Conn.Write(p)
}

func (c *brittle) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.answered.Store(true)
	return n, err
}

func dialBrittle(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &brittle{Conn: conn}, nil
}

// net/http has read the body into a buffer when it finds out, and cannot send it
// again.
func TestABodyThatWasReadAndNotSentIsSentElsewhere(t *testing.T) {
	var seen tally
	count := func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		seen.add(string(body))
		w.Write(body)
	}
	for _, size := range []int{5, 3000, 100_000} {
		transport := newTransport(t, httpbalancer.Config{
			Source: serving(start(t, "quiz-0", count), start(t, "quiz-1", count)),
			Base:   &http.Transport{DialContext: dialBrittle},
		})
		client := &http.Client{Transport: transport}
		for range 2 {
			get(t, client, "http://quiz.kiada/") // both connections are spent
		}
		text := strings.Repeat("x", size)
		b := newBody(text)
		if got := read(t)(client.Do(post(t, "http://quiz.kiada/", b))); got != text {
			t.Errorf("%d bytes: the pod got %d", size, len(got))
		}
		b.mustBeClosedOnce(t)
		if n := seen.of(text); n != 1 {
			t.Errorf("%d bytes were processed %d times", size, n)
		}
	}
}

// What was sent in part may have been processed.
func TestABodyThatWasSentInPartIsNotSentAgain(t *testing.T) {
	var attempts counted
	serve := func(conn *net.TCPConn) {
		if n, _ := conn.Read(make([]byte, 10)); n > 0 { // and not just an attempt to connect
			attempts.Add(1)
		}
		abort(conn)
	}
	client := newClient(t, serving(raw(t, "quiz-0", serve), raw(t, "quiz-1", serve)))
	b := newBody(strings.Repeat("x", 1<<20))
	resp, err := client.Do(post(t, "http://quiz.kiada/", b))
	if err == nil {
		resp.Body.Close()
		t.Fatal("served")
	}
	b.mustBeClosedOnce(t)
	if n := attempts.Load(); n != 1 {
		t.Errorf("%d attempts, want 1", n)
	}
}

// With one pod there is no other to go to.
func TestAStaleConnectionToTheOnlyPodIsReplaced(t *testing.T) {
	transport := newTransport(t, httpbalancer.Config{
		Source: serving(start(t, "quiz-0", echo)),
		Base:   &http.Transport{DialContext: dialBrittle},
	})
	for i := range 20 {
		id := fmt.Sprint(i)
		got := read(t)((&http.Client{Transport: transport}).Post("http://quiz.kiada/", "text/plain", onceBody(id)))
		if got != id {
			t.Fatalf("answer %q, want %q", got, id)
		}
	}
	if n := transport.InFlight(); n != 0 {
		t.Errorf("%d in flight", n)
	}
}

// What net/http refuses to send is no other backend's business.
func TestARequestThatCannotBeSentIsTriedOnceAndHeldAgainstNobody(t *testing.T) {
	for _, protocols := range []*http.Protocols{nil, h2c()} {
		pods := []*server{startWith(t, "quiz-0", nil, protocols), startWith(t, "quiz-1", nil, protocols)}
		transport := newTransport(t, httpbalancer.Config{Source: serving(pods...), Protocols: protocols})
		for name, change := range map[string]func(*http.Request){
			"header":  func(r *http.Request) { r.Header["Bad\n"] = []string{""} },
			"value":   func(r *http.Request) { r.Header["Good"] = []string{"bad\n"} },
			"method":  func(r *http.Request) { r.Method = "BAD METHOD" },
			"trailer": func(r *http.Request) { r.Trailer = http.Header{"Bad\n": {""}} },
		} {
			var trace balancer.Trace
			req := post(t, "http://quiz.kiada/", newBody("hello")).WithContext(balancer.WithTrace(t.Context(), &trace))
			change(req)
			if resp, err := transport.RoundTrip(req); err == nil {
				resp.Body.Close()
				t.Errorf("%s: served", name)
			}
			if n := len(trace.Attempts()); n != 1 {
				t.Errorf("%s: %d attempts", name, n)
			}
			if n := transport.Fit(); n != 2 {
				t.Errorf("%s, %v: %d backends in rotation, want 2: %v", name, protocols, n, trace.Attempts()[0].Err)
			}
		}
	}
}

func TestAPodThatClosesConnectionsAtOnceFailsNoRequest(t *testing.T) {
	var accepted counted
	bad := raw(t, "quiz-1", func(*net.TCPConn) { accepted.Add(1) })
	client := newClient(t, serving(start(t, "quiz-0", echo), bad))
	failed := 0
	for i := range 20 {
		resp, err := client.Get("http://quiz.kiada/" + fmt.Sprint(i))
		if err != nil {
			failed++
			continue
		}
		resp.Body.Close()
	}
	if failed > 0 {
		t.Errorf("%d of 20 requests failed", failed)
	}
	if n := accepted.Load(); n == 0 || n > 20 {
		t.Errorf("%d connections to the pod that closes them", n)
	}
}

var errNoDial = errors.New("no route to the pod")

// httplb#66: no happy eyeballs.
func TestAPodOfTwoAddressFamiliesIsReachedByTheOneThatWorks(t *testing.T) {
	pod := start(t, "quiz-0", nil)
	e := pod.endpoint()
	e.AltAddr, e.Addr = e.Addr, at("192.0.2.1:80").view.Snapshot.Endpoints[0].Addr
	s := newSource()
	s.set(viewOf(e))
	var tried counted
	client := &http.Client{Transport: newTransport(t, httpbalancer.Config{Source: s, Base: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if strings.HasPrefix(addr, "192.0.2.1:") {
				tried.Add(1)
				return nil, errNoDial
			}
			return new(net.Dialer).DialContext(ctx, network, addr)
		},
	}})}
	for range 5 {
		if got := get(t, client, "http://quiz.kiada/"); got != "quiz-0" {
			t.Errorf("served by %q", got)
		}
	}
	if n := tried.Load(); n != 1 {
		t.Errorf("the address that does not work was tried %d times, want once", n)
	}
}
