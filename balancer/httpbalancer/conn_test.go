package httpbalancer_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/httpbalancer"
)

// handled serves HTTP with a handler on a connection of virtual time.
func handled(protocols *http.Protocols, handler http.HandlerFunc) func(net.Conn) {
	return func(c net.Conn) {
		l := &oneConn{conn: make(chan net.Conn, 1), closed: make(chan struct{})}
		l.conn <- &closeNotifier{Conn: c, closed: sync.OnceFunc(func() { close(l.closed) })}
		server := &http.Server{Protocols: protocols, Handler: handler}
		server.Serve(l)
	}
}

// A server that goes away gracefully, and leaves it to the client to close.
func TestAConnectionThatTakesNoMoreRequestsMakesRoom(t *testing.T) {
	for _, when := range []string{"while it is idle", "with the last answer", "while a stream is open"} {
		t.Run(when, func(t *testing.T) {
			goAway := make(chan struct{}, 1)
			var conns atomic.Int64
			closed := make(chan struct{})
			pod := raw(t, "quiz-0", func(conn *net.TCPConn) {
				first := conns.Add(1) == 1
				c := h2(conn)
				c.streams(func(stream uint32) bool {
					if first && when != "while it is idle" {
						c.goAway(1<<31-1, 0)
					}
					c.frame(frameHeaders, 4, stream, []byte{0x88})
					if first && when == "while a stream is open" {
						<-goAway
					}
					c.frame(0, 1, stream, []byte("ok"))
					if first && when == "while it is idle" {
						<-goAway
						c.goAway(1<<31-1, 0)
					}
					return true
				})
				if first {
					close(closed)
				}
			})
			transport := newTransport(t, httpbalancer.Config{Source: serving(pod), Protocols: h2c(), Base: &http.Transport{MaxConnsPerHost: 1}})
			client := &http.Client{Transport: transport, Timeout: patience}
			resp, err := client.Get("http://quiz.kiada/")
			if err != nil {
				t.Fatal(err)
			}
			if when != "while it is idle" {
				goAway <- struct{}{}
			}
			if got := read(t)(resp, err); got != "ok" {
				t.Errorf("answer %q", got)
			}
			if when == "while it is idle" {
				goAway <- struct{}{}
			}
			select {
			case <-closed:
			case <-time.After(patience):
				t.Error("the connection is left open")
			}
			for range 3 {
				if got := get(t, client, "http://quiz.kiada/"); got != "ok" {
					t.Errorf("answer %q", got)
				}
			}
			if n := conns.Load(); n != 2 {
				t.Errorf("%d connections, want 2", n)
			}
			if n := transport.Fit(); n != 1 {
				t.Error("the pod is out of rotation")
			}
		})
	}
}

// Requests that were given up take up streams until the server says something.
func TestAFrozenConnectionWhoseStreamsAreUsedUpMakesRoom(t *testing.T) {
	var seen atomic.Int64 // streams on connections that are frozen
	var thawed atomic.Bool
	pod := raw(t, "quiz-0", func(conn *net.TCPConn) {
		conn.Write([]byte{0, 0, 6, frameSettings, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 2}) // two streams at a time
		c := h2After(conn)
		if thawed.Load() {
			c.streams(func(stream uint32) bool {
				c.frame(frameHeaders, 5, stream, []byte{0x88})
				return true
			})
			return
		}
		for head := make([]byte, 9); ; { // and no ping is answered
			if _, err := io.ReadFull(c.r, head); err != nil {
				return
			}
			if head[3] == frameHeaders {
				seen.Add(1)
			}
			io.CopyN(io.Discard, c.r, int64(head[0])<<16|int64(head[1])<<8|int64(head[2]))
		}
	})
	transport := newTransport(t, httpbalancer.Config{Source: serving(pod), Protocols: h2c(), Base: &http.Transport{MaxConnsPerHost: 1}})
	eventually(t, "both streams are used up", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		defer cancel()
		resp, err := transport.RoundTrip(post(t, "http://quiz.kiada/", newBody("")).WithContext(ctx))
		mustFail(t, context.DeadlineExceeded)(resp, err)
		return seen.Load() == 2
	})
	thawed.Store(true)
	resp, err := (&http.Client{Transport: transport, Timeout: patience}).Get("http://quiz.kiada/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}

// traceOf returns what a request's trace is told of its connection.
func traceOf(t *testing.T, transport http.RoundTripper, url string) (info httptrace.GotConnInfo) {
	t.Helper()
	calls := 0
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { info, calls = i, calls+1 }})
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	if calls != 1 {
		t.Errorf("GotConn was called %d times", calls)
	}
	return info
}

// dialedConn is a connection of the user's own type.
type dialedConn struct{ net.Conn }

func TestATraceIsToldOfTheRealConnection(t *testing.T) {
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		return &dialedConn{c}, err
	}
	secure, tlsPod := tlsServer(t, proto)
	secureBase := tlsPod.Client().Transport.(*http.Transport).Clone()
	secureBase.TLSClientConfig.ServerName, secureBase.DialContext = "example.com", dial
	for _, tt := range []struct {
		name, url string
		pod       *server
		base      *http.Transport
		is        func(net.Conn) bool
	}{
		{"HTTP/1", "http://quiz.kiada/", start(t, "quiz-0", nil), &http.Transport{DialContext: dial}, func(c net.Conn) bool { _, ok := c.(*dialedConn); return ok }},
		{"h2c", "http://quiz.kiada/", startWith(t, "quiz-0", nil, h2c()), &http.Transport{DialContext: dial, Protocols: h2c()}, func(c net.Conn) bool { _, ok := c.(*dialedConn); return ok }},
		{"TLS", "https://quiz.kiada/", secure, secureBase, func(c net.Conn) bool { _, ok := c.(*tls.Conn); return ok }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			transport := newTransport(t, httpbalancer.Config{Source: serving(tt.pod), Base: tt.base})
			first, second := traceOf(t, transport, tt.url), traceOf(t, transport, tt.url)
			if !tt.is(first.Conn) || first.Conn != second.Conn {
				t.Errorf("the connections are %T and %T", first.Conn, second.Conn)
			}
			if first.Reused || first.WasIdle {
				t.Errorf("of a new connection it is told %+v", first)
			}
			if !second.Reused || !second.WasIdle || second.IdleTime <= 0 {
				t.Errorf("of an idle connection it is told %+v", second)
			}
		})
	}
}

func TestATraceIsToldOfAConnectionThatIsBusy(t *testing.T) {
	release := make(chan struct{})
	pod := startWith(t, "quiz-0", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stream" {
			streams(release)(w, r)
		}
	}, h2c())
	transport := newTransport(t, httpbalancer.Config{Source: serving(pod), Protocols: h2c()})
	resp, err := (&http.Client{Transport: transport}).Get("http://quiz.kiada/stream")
	if err != nil {
		t.Fatal(err)
	}
	if info := traceOf(t, transport, "http://quiz.kiada/"); !info.Reused || info.WasIdle {
		t.Errorf("of a connection with a stream on it it is told %+v", info)
	}
	close(release)
	read(t)(resp, nil)
}

func TestResponsesHaveTheStateOfTLS(t *testing.T) {
	pod, s := tlsServer(t, proto)
	for _, http2 := range []bool{false, true} {
		base := s.Client().Transport.(*http.Transport).Clone()
		base.TLSClientConfig.ServerName, base.DialContext = "example.com", nil
		if !http2 {
			var http1 http.Protocols
			http1.SetHTTP1(true)
			base.Protocols = &http1
		}
		client := &http.Client{Transport: newTransport(t, httpbalancer.Config{Source: serving(pod), Base: base})}
		for range 2 {
			resp, err := client.Get("https://quiz.kiada/")
			read(t)(resp, err)
			if resp.TLS == nil || resp.TLS.ServerName != "example.com" || len(resp.TLS.PeerCertificates) == 0 {
				t.Errorf("%s: %+v", resp.Proto, resp.TLS)
			}
		}
	}
}

// The header of that name is what Node.js, Apache and others announce their idle
// time-out with.
func TestKeepAliveOfAServerIsHeeded(t *testing.T) {
	for header, tt := range map[string]struct{ keeps, gives time.Duration }{
		"timeout=5":         {3900 * time.Millisecond, 4100 * time.Millisecond},
		"max=99, timeout=5": {3900 * time.Millisecond, 4100 * time.Millisecond},
		"Timeout = 5":       {3900 * time.Millisecond, 4100 * time.Millisecond},
		"timeout=2":         {900 * time.Millisecond, 1100 * time.Millisecond},
		"timeout=1":         {400 * time.Millisecond, 600 * time.Millisecond},
		"timeout=0":         {-1, 0},
		"timeout=soon":      {time.Minute, -1},
		"timeout=-1":        {time.Minute, -1},
		"max=5":             {time.Minute, -1},
		"":                  {time.Minute, -1},
	} {
		t.Run(header, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var n network
				var conns atomic.Int64
				serve := handled(nil, func(w http.ResponseWriter, r *http.Request) {
					if header != "" {
						w.Header().Set("Keep-Alive", header)
					}
					if r.URL.Path == "/slow" {
						io.WriteString(w, "o")
						w.(http.Flusher).Flush()
						time.Sleep(time.Hour) // of virtual time
						io.WriteString(w, "k")
						return
					}
					io.WriteString(w, "ok")
				})
				n.set("10.0.0.1:80", func(c net.Conn) { conns.Add(1); serve(c) })
				transport := virtual(at("10.0.0.1:80"), &n, nil)
				defer transport.Close()
				client := &http.Client{Transport: transport}
				made := func(idle time.Duration, path string) int64 {
					before := conns.Load()
					time.Sleep(idle) // of virtual time
					get(t, client, "http://quiz.kiada"+path)
					return conns.Load() - before
				}
				get(t, client, "http://quiz.kiada/")
				if tt.keeps >= 0 {
					for range 3 {
						if made(tt.keeps, "/") != 0 {
							t.Errorf("a new connection after %v", tt.keeps)
						}
					}
					made(0, "/slow")
					if made(tt.keeps, "/") != 0 {
						t.Errorf("a new connection %v after a long response", tt.keeps)
					}
				}
				if tt.gives >= 0 && made(tt.gives, "/") != 1 {
					t.Errorf("the connection is used again after %v", tt.gives)
				}
			})
		})
	}
}

// A gRPC server closes connections on which it is pinged more than once in five
// minutes. Nothing is sent on a connection but what the caller sends, unless the
// user asks for it.
func TestAConnectionThatIsSilentIsLeftAlone(t *testing.T) {
	for _, asked := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var n network
			var pings, made atomic.Int64
			n.set("10.0.0.1:80", func(conn net.Conn) {
				defer conn.Close()
				made.Add(1)
				frames := make(chan []byte, 100)
				defer close(frames)
				go func() {
					for f := range frames {
						conn.Write(f)
					}
				}()
				io.CopyN(io.Discard, conn, int64(len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")))
				frames <- []byte{0, 0, 0, frameSettings, 0, 0, 0, 0, 0}
				for {
					head := make([]byte, 9)
					if _, err := io.ReadFull(conn, head); err != nil {
						return
					}
					payload := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
					io.ReadFull(conn, payload)
					switch {
					case head[3] == frameHeaders:
						frames <- append([]byte{0, 0, 1, frameHeaders, 4}, append(head[5:9], 0x88)...)
					case head[3] == framePing && head[4] == 0:
						pings.Add(1)
						frames <- append([]byte{0, 0, 8, framePing, flagAck, 0, 0, 0, 0}, payload...)
					}
				}
			})
			base := &http.Transport{DialContext: n.dial, Protocols: h2c()}
			if asked {
				base.HTTP2 = &http.HTTP2Config{SendPingTimeout: time.Minute}
			}
			transport := httpbalancer.New(httpbalancer.Config{Base: base, Source: at("10.0.0.1:80"), Balancer: balancer.Config{Policy: balancer.RoundRobin}})
			defer transport.Close()
			resp, err := (&http.Client{Transport: transport}).Get("http://quiz.kiada/")
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour) // of virtual time
			if got := pings.Load() > 0; got != asked {
				t.Errorf("%d pings, asked for: %v", pings.Load(), asked)
			}
			resp.Body.Close()
			if made.Load() != 1 {
				t.Errorf("%d connections", made.Load())
			}
		})
	}
}

// An HTTP/1 server with TLS that closes connections without a word, as at the end
// of an idle time-out: its close_notify and the client's are no part of a request,
// whoever made the TLS.
func TestAPostOnATLSConnectionThatTheServerHasClosedGoesElsewhere(t *testing.T) {
	_, certified := tlsServer(t, nil)
	config := &tls.Config{Certificates: certified.TLS.Certificates}
	for _, own := range []bool{false, true} {
		var seen tally
		closed := make(chan struct{}, 100)
		serve := func(conn *net.TCPConn) {
			c := tls.Server(conn, config)
			requests(c, func(_ *http.Request, body []byte) bool {
				seen.add(string(body))
				say(c, "ok")
				return false
			})
			c.Close()
			closed <- struct{}{}
		}
		clientConfig := certified.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
		clientConfig.ServerName = "example.com"
		clientConfig.NextProtos = nil
		base := &http.Transport{TLSClientConfig: clientConfig}
		if own {
			base = &http.Transport{DialTLSContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				return (&tls.Dialer{Config: clientConfig}).DialContext(ctx, network, addr)
			}}
		}
		transport := newTransport(t, httpbalancer.Config{Source: serving(raw(t, "quiz-0", serve), raw(t, "quiz-1", serve)), Base: base})
		client := &http.Client{Transport: transport}
		for i := range 40 {
			id := fmt.Sprint(i)
			if got := read(t)(client.Post("https://quiz.kiada/", "text/plain", onceBody(id))); got != "ok" {
				t.Fatalf("answer %q", got)
			}
			if n := seen.of(id); n != 1 {
				t.Errorf("request %s was processed %d times", id, n)
			}
			<-closed
		}
		if n := transport.Fit(); n != 2 {
			t.Errorf("%d backends in rotation, want 2", n)
		}
	}
}
