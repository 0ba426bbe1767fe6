package httpbalancer_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidestep-lb/sidestep/balancer/httpbalancer"
)

// A dialCounter counts connections.
type dialCounter struct{ dials, open, most atomic.Int64 }

func (c *dialCounter) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c.dials.Add(1)
	n := c.open.Add(1)
	for {
		if m := c.most.Load(); n <= m || c.most.CompareAndSwap(m, n) {
			break
		}
	}
	return &closeNotifier{conn, sync.OnceFunc(func() { c.open.Add(-1) })}, nil
}

// together sends so many requests in each of so many goroutines.
func together(t *testing.T, goroutines, n int, url func(i int) string, client *http.Client) {
	t.Helper()
	var load sync.WaitGroup
	for i := range goroutines {
		load.Go(func() {
			for range n {
				resp, err := client.Get(url(i))
				if err != nil {
					t.Error(err)
					return
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		})
	}
	load.Wait()
}

// rudder-server#5773: "httplb client doesn't respect connection limits".
func TestMaxConnsPerHostIsALimitForAPodWhateverItIsCalled(t *testing.T) {
	for name, protocols := range map[string]*http.Protocols{"HTTP/1": nil, "h2c": h2c()} {
		t.Run(name, func(t *testing.T) {
			var count dialCounter
			pod := startWith(t, "quiz-0", nil, protocols)
			transport := newTransport(t, httpbalancer.Config{
				Source: &canonical{source: serving(pod)}, Protocols: protocols,
				Base: &http.Transport{MaxConnsPerHost: 3, DialContext: count.dial},
			})
			hosts := []string{"quiz", "quiz.kiada", "quiz.kiada.svc"}
			together(t, 16, 50, func(i int) string { return "http://" + hosts[i%3] + "/" }, &http.Client{Transport: transport})
			if n := count.most.Load(); n > 3 {
				t.Errorf("%d connections at the same time, want 3 at most", n)
			}
		})
	}
}

// Pitfall 4: MaxConnsPerHost and HTTP/2 hang (go.dev/issue/34941), since streams
// are what it ought to count.
func TestALimitOfConnectionsDoesNotHangWhenStreamsAreUsedUp(t *testing.T) {
	var count dialCounter
	pod := newServer("quiz-0", nil, h2c())
	pod.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: 2}
	pod.listen(t, "127.0.0.1:0")
	defer pod.Close()
	transport := newTransport(t, httpbalancer.Config{
		Source: serving(pod), Protocols: h2c(),
		Base: &http.Transport{MaxConnsPerHost: 2, DialContext: count.dial},
	})
	together(t, 12, 100, func(int) string { return "http://quiz.kiada/" }, &http.Client{Transport: transport})
	if n := count.most.Load(); n > 2 {
		t.Errorf("%d connections at the same time, want 2 at most", n)
	}
}

// A connection that nobody uses is given up for one that somebody needs.
func TestALimitIsSharedByAllKindsOfConnections(t *testing.T) {
	var count dialCounter
	pod, server := tlsServer(t, shout)
	base := server.Client().Transport.(*http.Transport).Clone()
	base.TLSClientConfig.ServerName, base.DialContext, base.MaxConnsPerHost = "example.com", count.dial, 1
	transport := newTransport(t, httpbalancer.Config{Source: &canonical{source: serving(pod)}, Base: base})
	client := &http.Client{Transport: transport}
	for range 3 {
		for _, host := range []string{"quiz", "quiz.kiada"} {
			if got := get(t, client, "https://"+host+"/"); got != "HTTP/2.0" {
				t.Errorf("answer %q", got)
			}
			req := request(t, func(r *http.Request) {
				r.URL.Scheme, r.URL.Host = "https", host
				r.Header.Set("Connection", "Upgrade")
				r.Header.Set("Upgrade", "shout")
			})
			resp, err := transport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
		}
	}
	if n := count.most.Load(); n > 1 {
		t.Errorf("%d connections at the same time, want 1", n)
	}
}

// Pitfall 7: with MaxIdleConnsPerHost 2 most connections close after each burst;
// httplb used 80 connections for 2,000 requests of 8 callers.
func TestConnectionsAreKeptAfterABurst(t *testing.T) {
	var count dialCounter
	transport := newTransport(t, httpbalancer.Config{
		Source: serving(start(t, "quiz-0", nil)), Base: &http.Transport{DialContext: count.dial},
	})
	together(t, 8, 250, func(int) string { return "http://quiz.kiada/" }, &http.Client{Transport: transport})
	if n := count.dials.Load(); n > 16 {
		t.Errorf("%d connections for 8 callers", n)
	}
}

// Pitfall 7: go.dev/issue/76784 is about dials that pile up when those who wait
// for them give up.
func TestDialsThatNobodyWaitsForAreTakenUpByTheNext(t *testing.T) {
	var dials atomic.Int64
	answer := make(chan struct{})
	transport := newTransport(t, httpbalancer.Config{
		Source: serving(start(t, "quiz-0", nil)),
		Base: &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			dials.Add(1)
			select {
			case <-answer:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			return new(net.Dialer).DialContext(ctx, network, addr)
		}},
	})
	client := &http.Client{Transport: transport}
	for range 50 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://quiz.kiada/", nil)
		mustFail(t, context.DeadlineExceeded)(client.Do(req))
		cancel()
	}
	close(answer)
	get(t, client, "http://quiz.kiada/")
	if n := dials.Load(); n > 2 {
		t.Errorf("%d dials, though nobody ever waited for more than one", n)
	}
}

func TestMaxIdleConnsPerHostAndDisableKeepAlives(t *testing.T) {
	for name, tt := range map[string]struct {
		base *http.Transport
		want int64
	}{
		"two":          {&http.Transport{MaxIdleConnsPerHost: 2}, 2},
		"none":         {&http.Transport{MaxIdleConnsPerHost: -1}, 0},
		"no keepalive": {&http.Transport{DisableKeepAlives: true}, 0},
	} {
		var count dialCounter
		tt.base.DialContext = count.dial
		transport := newTransport(t, httpbalancer.Config{Source: serving(start(t, "quiz-0", nil)), Base: tt.base})
		together(t, 8, 5, func(int) string { return "http://quiz.kiada/" }, &http.Client{Transport: transport})
		eventually(t, fmt.Sprintf("%s: no more than %d connections are left", name, tt.want), func() bool { return count.open.Load() <= tt.want })
	}
}

func TestIdleConnectionsCloseInTime(t *testing.T) {
	for name, protocols := range map[string]*http.Protocols{"HTTP/1": nil, "h2c": h2c()} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var n pipes
				transport := virtualWith(at("10.0.0.1:80"), &n, &http.Transport{IdleConnTimeout: time.Minute}, httpbalancer.Config{Protocols: protocols})
				defer transport.Close()
				client := &http.Client{Transport: transport}
				for range 5 {
					get(t, client, "http://quiz.kiada/")
					time.Sleep(50 * time.Second) // of virtual time
				}
				if got := n.made.Load(); got != 1 {
					t.Errorf("%d connections while there was something to do, want 1", got)
				}
				time.Sleep(15 * time.Second) // of virtual time
				synctest.Wait()
				if got := n.open.Load(); got != 0 {
					t.Errorf("%d connections are open after the time-out", got)
				}
			})
		})
	}
}

// httplb#59, rudder-server#5774: connections have to be made anew now and then,
// not all at the same time (pitfall 15), and not "for no reason" under a request.
func TestConnectionsReachAnAge(t *testing.T) {
	for name, protocols := range map[string]*http.Protocols{"HTTP/1": nil, "h2c": h2c()} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var n pipes
				transport := virtualWith(at("10.0.0.1:80"), &n, &http.Transport{}, httpbalancer.Config{Protocols: protocols, MaxConnAge: time.Minute})
				defer transport.Close()
				client := &http.Client{Transport: transport}
				for range 10 * 60 {
					get(t, client, "http://quiz.kiada/")
					time.Sleep(time.Second) // of virtual time
				}
				if got := n.made.Load(); got < 9 || got > 12 {
					t.Errorf("%d connections in ten minutes, want one a minute", got)
				}
				synctest.Wait()
				if got := n.open.Load(); got > 2 {
					t.Errorf("%d connections are open", got)
				}
				resp, err := client.Get("http://quiz.kiada/slow") // takes two minutes
				if got := read(t)(resp, err); got != "late" {
					t.Errorf("the answer on a connection that got old is %q", got)
				}
			})
		})
	}
}

func TestWarmUpMakesConnectionsBeforeRequestsNeedThem(t *testing.T) {
	pods := []*server{start(t, "quiz-0", nil), start(t, "quiz-1", nil), start(t, "quiz-2", nil)}
	s := serving(pods[0], pods[1], gone(t, "quiz-3"))
	transport := newTransport(t, httpbalancer.Config{Source: s, WarmUp: true})
	get(t, &http.Client{Transport: transport}, "http://quiz.kiada/")
	eventually(t, "both have a connection", func() bool { return pods[0].openConns() == 1 && pods[1].openConns() == 1 })
	s.publish(pods...)
	eventually(t, "the new one, too", func() bool { return pods[2].openConns() == 1 })
	for range 6 {
		get(t, &http.Client{Transport: transport}, "http://quiz.kiada/")
	}
	for _, pod := range pods {
		if n := pod.openConns(); n != 1 {
			t.Errorf("%s has %d connections, want 1", pod.name, n)
		}
	}
}

// Warm means TLS, too.
func TestWarmUpDoesTheTLSHandshake(t *testing.T) {
	pod, server := tlsServer(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto) })
	var handshakes, conns atomic.Int64
	base := server.Client().Transport.(*http.Transport).Clone()
	base.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conns.Add(1)
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
	base.TLSClientConfig.ServerName = "example.com"
	base.TLSClientConfig.VerifyConnection = countHandshakes(&handshakes)
	s := serving(pod)
	transport := newTransport(t, httpbalancer.Config{Source: s, Base: base, WarmUp: true})
	get(t, &http.Client{Transport: transport}, "https://quiz.kiada/")
	e, other := pod.endpoint(), pod.endpoint()
	other.UID = "another pod" // at the same address
	s.set(viewOf(e))
	other.Addr = e.Addr
	s.set(viewOf(other))
	eventually(t, "the other one is warm", func() bool { return handshakes.Load() == 2 })
	if got := get(t, &http.Client{Transport: transport}, "https://quiz.kiada/"); got != "HTTP/2.0" {
		t.Errorf("answer %q", got)
	}
	if n := conns.Load(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}
