package httpbalancer_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/httpbalancer"
)

// allowing runs a pod that allows so many streams on a connection, without or with
// TLS, and returns a base that connects to it.
func allowing(t *testing.T, streams int, withTLS bool, handler http.HandlerFunc) (*server, *http.Transport) {
	t.Helper()
	s := httptest.NewUnstartedServer(handler)
	s.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: streams}
	base := &http.Transport{Protocols: h2c()}
	if withTLS {
		s.EnableHTTP2 = true
		s.StartTLS()
		base = s.Client().Transport.(*http.Transport).Clone()
		base.DialContext = nil
		base.TLSClientConfig.ServerName = "example.com"
	} else {
		s.Config.Protocols = h2c()
		s.Start()
	}
	t.Cleanup(s.Close)
	return &server{name: "quiz-0", addr: s.Listener.Addr().String()}, base
}

// A burst goes out before anybody has asked how many streams the server allows. The
// handler answers when all of it is there: none is refused, and none waits for
// another one.
func TestABurstOnAColdTransportIsServedAtTheSameTimeWhateverTheServerAllows(t *testing.T) {
	const burst = 100
	for withTLS, allowed := range map[bool][]int{false: {1, 8, 16, 100, 250}, true: {8, 100}} {
		for _, streams := range allowed {
			t.Run(fmt.Sprintf("%d streams, TLS %v", streams, withTLS), func(t *testing.T) {
				var arrived atomic.Int64
				all := make(chan struct{})
				pod, base := allowing(t, streams, withTLS, func(w http.ResponseWriter, r *http.Request) {
					io.Copy(io.Discard, r.Body)
					if arrived.Add(1) == burst {
						close(all)
					}
					<-all
				})
				transport := newTransport(t, httpbalancer.Config{Source: serving(pod), Base: base})
				scheme := "http"
				if withTLS {
					scheme = "https"
				}
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				var load sync.WaitGroup
				for range burst {
					load.Go(func() {
						req := post(t, scheme+"://quiz.kiada/", newBody("hello")).WithContext(ctx)
						resp, err := transport.RoundTrip(req)
						if err != nil {
							t.Error(err)
							return
						}
						resp.Body.Close()
					})
				}
				load.Wait()
				if n := arrived.Load(); n != burst {
					t.Errorf("%d requests arrived, want %d", n, burst)
				}
			})
		}
	}
}

// The server's SETTINGS come later than the connection, and allow one stream.
func TestNoRequestIsSentBeforeTheSettingsAreKnown(t *testing.T) {
	release := make(chan struct{})
	var early atomic.Int64
	pod := raw(t, "quiz-0", func(conn *net.TCPConn) {
		settings := []byte{0, 0, 6, frameSettings, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 1} // SETTINGS_MAX_CONCURRENT_STREAMS is 1
		conn.Write(settings[:4])                                                    // in parts
		<-release
		conn.Write(settings[4:])
		c := h2After(conn)
		var open atomic.Int64
		c.streams(func(stream uint32) bool {
			if open.Add(1) > 1 {
				early.Add(1)
				c.reset(stream, 7)
				return true
			}
			c.frame(frameHeaders, 5, stream, []byte{0x88}) // :status 200, the end of headers and stream
			open.Add(-1)
			return true
		})
	})
	transport := newTransport(t, httpbalancer.Config{Source: serving(pod), Protocols: h2c()})
	var load sync.WaitGroup
	for range 20 {
		load.Go(func() {
			resp, err := transport.RoundTrip(post(t, "http://quiz.kiada/", newBody("")))
			if err != nil {
				t.Error(err)
				return
			}
			resp.Body.Close()
		})
	}
	close(release)
	load.Wait()
	if n := early.Load(); n > 0 {
		t.Errorf("%d streams were too many", n)
	}
}

// h2After is h2 when the settings have been sent.
func h2After(conn net.Conn) *h2Conn {
	c := &h2Conn{conn, bufio.NewReader(conn)}
	io.CopyN(io.Discard, c.r, int64(len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")))
	return c
}

// A frozen process has its connections accepted by the kernel. No request waits for
// it without end, and few do for long.
func TestAServerThatNeverSendsSettingsIsLeftForAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n network
		var accepted atomic.Int64
		n.set("10.0.0.1:80", func(c net.Conn) {
			accepted.Add(1)
			defer c.Close()
			io.Copy(io.Discard, c)
		})
		n.set("10.0.0.2:80", web(h2c()))
		transport := virtual(at("10.0.0.1:80", "10.0.0.2:80"), &n, h2c())
		defer transport.Close()
		client := &http.Client{Transport: transport}
		slow := 0
		for range 300 {
			began := time.Now()
			if got := get(t, client, "http://quiz.kiada/"); got != "ok" {
				t.Errorf("answer %q", got)
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("it took %v", took)
			} else if took > time.Second {
				slow++
			}
			time.Sleep(time.Second) // of virtual time
		}
		if slow != 1 {
			t.Errorf("%d requests waited for SETTINGS, want 1", slow)
		}
		if got := accepted.Load(); got > 20 {
			t.Errorf("%d connections within five minutes", got)
		}
		if transport.Fit() != 1 {
			t.Error("the pod is in rotation")
		}
		n.set("10.0.0.1:80", web(h2c()))
		time.Sleep(30 * time.Second) // of virtual time
		synctest.Wait()
		if transport.Fit() != 2 {
			t.Error("the pod is still out")
		}
	})
}

func TestAServerThatSpeaksHTTP1WhereHTTP2WasDeclaredIsNamed(t *testing.T) {
	transport := newTransport(t, httpbalancer.Config{Source: serving(start(t, "quiz-0", nil)), Protocols: h2c()})
	resp, err := transport.RoundTrip(post(t, "http://quiz.kiada/", newBody("")))
	if err == nil {
		resp.Body.Close()
		t.Fatal("served")
	}
	if want := "the server speaks HTTP/1"; !strings.Contains(err.Error(), want) {
		t.Errorf("error %q, want one with %q", err, want)
	}
}

// One connection that ends with many requests on it is one event.
func TestALostConnectionWithManyRequestsIsOneEvent(t *testing.T) {
	const streams = 20
	var conns atomic.Int64
	pod := raw(t, "quiz-0", func(conn *net.TCPConn) {
		first := conns.Add(1) == 1
		c, n := h2(conn), 0
		c.streams(func(stream uint32) bool {
			if n++; !first {
				c.frame(frameHeaders, 5, stream, []byte{0x88})
				return true
			}
			return n < streams/2
		})
		if first {
			abort(conn)
		}
	})
	other := startWith(t, "quiz-1", nil, h2c())
	transport := newTransport(t, httpbalancer.Config{Source: serving(pod, other), Protocols: h2c()})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var load sync.WaitGroup
	for range 2 * streams {
		load.Go(func() {
			resp, err := transport.RoundTrip(post(t, "http://quiz.kiada/", newBody("")).WithContext(ctx))
			if err == nil {
				resp.Body.Close()
			}
		})
	}
	load.Wait()
	eventually(t, "the pod is back", func() bool { return transport.Fit() == 2 })
	for _, s := range balancer.Statuses() {
		for cause, n := range s.Counts.Ejections {
			if n > 0 {
				t.Errorf("%d ejections: %v", n, cause)
			}
		}
	}
}
