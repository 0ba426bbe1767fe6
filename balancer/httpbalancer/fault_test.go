package httpbalancer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/httpbalancer"
)

// stages are the moments of a request at which a server may go away, with what
// that means: whether the request may have been processed by then.
var stages = []struct {
	name string
	sent bool // as far as the client can know
	end  func(conn *net.TCPConn, process func(id string))
}{
	{"before a byte was read", true, func(conn *net.TCPConn, _ func(string)) {
		conn.Read(make([]byte, 1)) // or the connection might be reset before anything was sent
		abort(conn)
	}},
	{"in the middle of the request", true, func(conn *net.TCPConn, _ func(string)) {
		conn.Read(make([]byte, 40))
		abort(conn)
	}},
	{"after the request, by a reset", true, func(conn *net.TCPConn, process func(string)) {
		requests(conn, func(_ *http.Request, body []byte) bool { process(string(body)); return false })
		abort(conn)
	}},
	{"after the request, in good order", true, func(conn *net.TCPConn, process func(string)) {
		requests(conn, func(_ *http.Request, body []byte) bool { process(string(body)); return false })
	}},
	{"after the request, half-closed", true, func(conn *net.TCPConn, process func(string)) {
		requests(conn, func(_ *http.Request, body []byte) bool { process(string(body)); return false })
		conn.CloseWrite()
		io.Copy(io.Discard, conn)
	}},
	{"in the middle of the status line", true, func(conn *net.TCPConn, process func(string)) {
		requests(conn, func(_ *http.Request, body []byte) bool { process(string(body)); return false })
		io.WriteString(conn, "HTTP/1.1 20")
	}},
	{"in the middle of the headers", true, func(conn *net.TCPConn, process func(string)) {
		requests(conn, func(_ *http.Request, body []byte) bool { process(string(body)); return false })
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Le")
		abort(conn)
	}},
}

func TestResetsAtEveryStageLoseAndDoubleNothing(t *testing.T) {
	for _, stage := range stages {
		t.Run(stage.name, func(t *testing.T) {
			var seen tally
			count := func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				seen.add(string(body))
				io.WriteString(w, "ok")
			}
			bad := raw(t, "quiz-0", func(conn *net.TCPConn) { stage.end(conn, seen.add) })
			transport := newTransport(t, httpbalancer.Config{Source: serving(bad, start(t, "quiz-1", count))})
			client := &http.Client{Transport: transport}
			for i := range 10 {
				get := fmt.Sprintf("GET %d", i)
				req, _ := http.NewRequest(http.MethodGet, "http://quiz.kiada/", strings.NewReader(get))
				resp, err := client.Do(req)
				if err == nil {
					read(t)(resp, err)
				} else if !strings.Contains(err.Error(), "quiz-0") {
					t.Error(err)
				}
				post := fmt.Sprintf("POST %d", i)
				resp, err = client.Post("http://quiz.kiada/", "text/plain", onceBody(post))
				if err == nil {
					read(t)(resp, err)
					if n := seen.of(post); n != 1 {
						t.Errorf("%s was answered and processed %d times", post, n)
					}
				}
				if n := seen.of(post); n > 1 {
					t.Errorf("%s was processed %d times", post, n)
				}
			}
			if n := transport.InFlight(); n != 0 {
				t.Errorf("%d in flight", n)
			}
		})
	}
}

// What comes after the headers is the caller's to see, and nothing is sent again.
func TestABodyThatBreaksOffIsAnErrorOfTheBody(t *testing.T) {
	for name, answer := range map[string]string{
		"less than Content-Length": "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello",
		"chunks that do not end":   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
		"no chunk at all":          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz",
	} {
		var n counted
		serve := func(conn *net.TCPConn) {
			requests(conn, func(*http.Request, []byte) bool {
				n.Add(1)
				io.WriteString(conn, answer)
				return false
			})
		}
		transport := newTransport(t, httpbalancer.Config{Source: serving(raw(t, "quiz-0", serve), raw(t, "quiz-1", serve))})
		resp, err := (&http.Client{Transport: transport}).Get("http://quiz.kiada/")
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(resp.Body); err == nil {
			t.Errorf("%s: the body %q ended well", name, body)
		}
		resp.Body.Close()
		if got := n.Load(); got != 1 {
			t.Errorf("%s: %d requests", name, got)
		}
		if got := transport.InFlight(); got != 0 {
			t.Errorf("%s: %d in flight", name, got)
		}
		if got := transport.Fit(); got != 2 {
			t.Errorf("%s: %d backends in rotation", name, got)
		}
	}
}

// More than Content-Length would be taken for the next answer.
func TestAnAnswerLongerThanItsContentLengthPoisonsNoOther(t *testing.T) {
	serve := func(conn *net.TCPConn) {
		n := 0
		requests(conn, func(*http.Request, []byte) bool {
			n++
			fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
			return true
		})
	}
	log.SetOutput(io.Discard) // net/http complains
	defer log.SetOutput(os.Stderr)
	client := newClient(t, serving(raw(t, "quiz-0", serve)))
	for range 20 {
		if got := get(t, client, "http://quiz.kiada/"); got != "ok" {
			t.Errorf("answer %q", got)
		}
	}
}

func TestSlowHeadersAndSlowBodiesArrive(t *testing.T) {
	serve := func(conn *net.TCPConn) {
		requests(conn, func(*http.Request, []byte) bool {
			for _, b := range []byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello") {
				<-time.After(time.Millisecond / 4)
				if _, err := conn.Write([]byte{b}); err != nil {
					return false
				}
			}
			return true
		})
	}
	transport := newTransport(t, httpbalancer.Config{Source: serving(raw(t, "quiz-0", serve), raw(t, "quiz-1", serve))})
	for range 4 {
		if got := get(t, &http.Client{Transport: transport}, "http://quiz.kiada/"); got != "hello" {
			t.Errorf("answer %q", got)
		}
	}
	if n := transport.InFlight(); n != 0 {
		t.Errorf("%d in flight", n)
	}
}

func TestAFloodOfHeadersIsCutOffAndNotAskedForAgain(t *testing.T) {
	var n counted
	serve := func(conn *net.TCPConn) {
		requests(conn, func(*http.Request, []byte) bool {
			n.Add(1)
			io.WriteString(conn, "HTTP/1.1 200 OK\r\n")
			line := "X-Flood: " + strings.Repeat("x", 1000) + "\r\n"
			for range 1000 {
				if _, err := io.WriteString(conn, line); err != nil {
					return false
				}
			}
			return false
		})
	}
	transport := newTransport(t, httpbalancer.Config{
		Source: serving(raw(t, "quiz-0", serve), raw(t, "quiz-1", serve)),
		Base:   &http.Transport{MaxResponseHeaderBytes: 10_000},
	})
	resp, err := (&http.Client{Transport: transport}).Get("http://quiz.kiada/")
	if err == nil {
		resp.Body.Close()
		t.Fatal("served")
	}
	if got := n.Load(); got != 1 {
		t.Errorf("it was asked for %d times", got)
	}
	if got := transport.InFlight(); got != 0 {
		t.Errorf("%d in flight", got)
	}
}

func TestAPodThatAcceptsAndNeverAnswersCostsNoMoreThanATry(t *testing.T) {
	silent := raw(t, "quiz-0", func(conn *net.TCPConn) { io.Copy(io.Discard, conn) })
	transport := newTransport(t, httpbalancer.Config{
		Source: serving(silent, start(t, "quiz-1", nil)),
		Retry:  httpbalancer.Retry{TryTimeout: 20 * time.Millisecond},
	})
	client := &http.Client{Transport: transport}
	for range 10 {
		if got := get(t, client, "http://quiz.kiada/"); got != "quiz-1" {
			t.Errorf("served by %q", got)
		}
	}
	alone := newTransport(t, httpbalancer.Config{Source: serving(silent)})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://quiz.kiada/", nil)
	resp, err := alone.RoundTrip(req)
	mustFail(t, context.DeadlineExceeded)(resp, err)
	if n := transport.InFlight() + alone.InFlight(); n != 0 {
		t.Errorf("%d in flight", n)
	}
}

// GOAWAY says which requests will be answered (RFC 9113, section 6.8). net/http
// sends the others again to the same server, for as long as that sends GOAWAY.
// connect-go#541, otel-go#7794.
func TestAStormOfGoAwayFailsNoRequest(t *testing.T) {
	const storm = 10
	for name, serve := range map[string]func(seen *counted, c *h2Conn){
		"before any request": func(_ *counted, c *h2Conn) {
			c.goAway(0, 0)
			c.streams(func(uint32) bool { return true })
		},
		"instead of an answer": func(seen *counted, c *h2Conn) {
			c.streams(func(uint32) bool {
				seen.Add(1)
				c.goAway(0, 0)
				return true
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			var seen counted
			stormy := raw(t, "quiz-0", func(conn *net.TCPConn) { serve(&seen, h2(conn)) })
			good := startWith(t, "quiz-1", echo, h2c())
			transport := newTransport(t, httpbalancer.Config{Source: serving(stormy, good), Protocols: h2c()})
			client := &http.Client{Transport: transport}
			began := time.Now()
			for i := range storm {
				id := fmt.Sprint(i)
				if got := read(t)(client.Post("http://quiz.kiada/", "text/plain", strings.NewReader(id))); got != id {
					t.Errorf("answer %q, want %q", got, id)
				}
				get(t, client, "http://quiz.kiada/")
			}
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("it took %v", took)
			}
			if n := good.requests.Load(); n != 2*storm {
				t.Errorf("the good pod processed %d requests, want %d", n, 2*storm)
			}
			if n := transport.InFlight(); n != 0 {
				t.Errorf("%d in flight", n)
			}
		})
	}
}

// A request that GOAWAY names as one that was taken up may have been processed.
func TestARequestThatWasTakenUpBeforeGoAwayIsNotSentAgain(t *testing.T) {
	var seen counted
	serve := func(conn *net.TCPConn) {
		c := h2(conn)
		c.streams(func(stream uint32) bool {
			seen.Add(1)
			c.goAway(stream, 0)
			return false
		})
	}
	transport := newTransport(t, httpbalancer.Config{Source: serving(raw(t, "quiz-0", serve), raw(t, "quiz-1", serve)), Protocols: h2c()})
	resp, err := (&http.Client{Transport: transport}).Post("http://quiz.kiada/", "text/plain", strings.NewReader("hello"))
	if err == nil {
		resp.Body.Close()
		t.Fatal("served")
	}
	if n := seen.Load(); n != 1 {
		t.Errorf("the POST was sent %d times", n)
	}
}

// net/http goes on for a minute with a server that refuses streams. A POST
// without GetBody may go elsewhere as long as nobody has read from its body.
func TestRefusedStreamsGoToAnotherPodAtOnce(t *testing.T) {
	var seen counted
	refusing := raw(t, "quiz-0", func(conn *net.TCPConn) {
		c := h2(conn)
		c.streams(func(stream uint32) bool {
			seen.Add(1)
			c.reset(stream, 7)
			return true
		})
	})
	transport := newTransport(t, httpbalancer.Config{Source: serving(refusing, startWith(t, "quiz-1", echo, h2c())), Protocols: h2c()})
	client := &http.Client{Transport: transport}
	began := time.Now()
	var why []balancer.Reason
	for range 6 {
		req, trace := traced(t, http.MethodPost, "http://quiz.kiada/", strings.NewReader("hello"))
		if got := read(t)(client.Do(req)); got != "hello" {
			t.Errorf("answer %q", got)
		}
		why = append(why, reasons(trace)...)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
	if seen.Load() == 0 || !slices.Contains(why, balancer.Refused) {
		t.Errorf("no stream was refused: %q", why)
	}
}

// The servers count: nothing that may be done once only is done twice, and
// nothing is left.
func TestAThousandRequestsCancelledAtRandomMoments(t *testing.T) {
	for name, protocols := range map[string]*http.Protocols{"HTTP/1": nil, "h2c": h2c()} {
		t.Run(name, func(t *testing.T) {
			var seen tally
			handler := func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err != nil {
					return
				}
				seen.add(string(body))
				<-time.After(time.Duration(rand.IntN(300)) * time.Microsecond)
				switch rand.IntN(20) {
				case 0:
					panic(http.ErrAbortHandler)
				case 1:
					w.WriteHeader(http.StatusServiceUnavailable)
				}
				w.Write(make([]byte, rand.IntN(20_000)))
			}
			pods := []*server{startWith(t, "quiz-0", handler, protocols), startWith(t, "quiz-1", handler, protocols), gone(t, "quiz-2")}
			// A connection that is not given back is missed soon.
			base := &http.Transport{MaxConnsPerHost: 3}
			transport := newTransport(t, httpbalancer.Config{Source: serving(pods...), Protocols: protocols, Base: base})
			client := &http.Client{Transport: transport}
			var load sync.WaitGroup
			for worker := range 10 {
				load.Go(func() {
					for i := range 100 {
						id := fmt.Sprintf("%d of %d", i, worker)
						ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.IntN(1500))*time.Microsecond)
						req, _ := http.NewRequestWithContext(ctx, http.MethodPost, "http://quiz.kiada/", onceBody(id))
						resp, err := client.Do(req)
						if err == nil {
							_, err = io.CopyN(io.Discard, resp.Body, int64(rand.IntN(20_000)))
							resp.Body.Close()
							if n := seen.of(id); n != 1 {
								t.Errorf("request %s was answered and processed %d times", id, n)
							}
						}
						cancel()
						if err != nil && errors.Is(err, errNoDial) {
							t.Error(err)
						}
					}
				})
			}
			load.Wait()
			seen.mustHaveNoDoubles(t)
			eventually(t, "nothing is in flight", func() bool { return transport.InFlight() == 0 })
			for range 50 {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://quiz.kiada/", nil)
				resp, err := client.Do(req)
				if errors.Is(err, context.DeadlineExceeded) {
					t.Fatal("there are no connections left")
				}
				if err == nil {
					resp.Body.Close()
				}
				cancel()
			}
		})
	}
}

// All of it at the same time, while pods come and go.
func TestChaosLosesAndDoublesNothing(t *testing.T) {
	var seen tally
	good := func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		seen.add(string(body))
		io.WriteString(w, "ok")
	}
	once := func(conn *net.TCPConn) { // answers once, and closes without a word
		requests(conn, func(_ *http.Request, body []byte) bool {
			seen.add(string(body))
			say(conn, "ok")
			return rand.IntN(2) == 0
		})
	}
	pods := []*server{start(t, "quiz-0", good), start(t, "quiz-1", good), raw(t, "quiz-2", once), raw(t, "quiz-3", once), gone(t, "quiz-4")}
	s := serving(pods...)
	transport := newTransport(t, httpbalancer.Config{Source: s, Base: &http.Transport{MaxConnsPerHost: 4}, MaxConnAge: 20 * time.Millisecond, WarmUp: true})
	client := &http.Client{Transport: transport}
	ctx, stop := context.WithCancel(t.Context())
	var changes, load sync.WaitGroup
	changes.Go(func() {
		for ctx.Err() == nil {
			<-time.After(2 * time.Millisecond)
			some := slices.Clone(pods)
			rand.Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
			s.publish(some[:2+rand.IntN(len(some)-1)]...)
		}
	})
	var failed counted
	for worker := range 8 {
		load.Go(func() {
			for i := range 150 {
				id := fmt.Sprintf("%d of %d", i, worker)
				resp, err := client.Post("http://quiz.kiada/", "text/plain", onceBody(id))
				if err != nil {
					failed.Add(1)
					continue
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if n := seen.of(id); n != 1 {
					t.Errorf("request %s was answered and processed %d times", id, n)
				}
			}
		})
	}
	load.Wait()
	stop()
	changes.Wait()
	seen.mustHaveNoDoubles(t)
	if n := failed.Load(); n > 120 { // those that met a connection in the moment of its end
		t.Errorf("%d of 1200 requests failed", n)
	}
	eventually(t, "nothing is in flight", func() bool { return transport.InFlight() == 0 })
}
