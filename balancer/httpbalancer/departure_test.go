package httpbalancer_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/httpbalancer"
	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/selection"
	"github.com/sidestep-lb/sidestep/discovery/topology"
)

// ticks streams a byte a second for ten minutes.
func ticks(w http.ResponseWriter, r *http.Request) {
	for range 600 {
		if _, err := io.WriteString(w, "x"); err != nil {
			return
		}
		w.(http.Flusher).Flush()
		select {
		case <-time.After(time.Second):
		case <-r.Context().Done():
			return
		}
	}
}

// a and b are two pods, in whatever state.
func podAt(addr string, change func(*discovery.Endpoint)) discovery.Endpoint {
	e := at(addr).view.Snapshot.Endpoints[0]
	e.UID, e.Pod = addr, addr
	if change != nil {
		change(&e)
	}
	return e
}

func notReady(e *discovery.Endpoint) { e.Ready, e.Serving = false, false }

func terminating(e *discovery.Endpoint) { e.Ready, e.Terminating = false, true }

// inZone gives an endpoint to the clients of a zone.
func inZone(zone string) func(*discovery.Endpoint) {
	return func(e *discovery.Endpoint) { e.Hints.Zones = []string{zone} }
}

const (
	podA = "10.0.0.1:80"
	podB = "10.0.0.2:80"
)

// What discovery says of a pod with a stream decides whether the stream is cut off,
// and when. The DrainTimeout is 30 s.
func TestOnlyPodsThatTerminateOrAreGoneAreCutOff(t *testing.T) {
	type step struct {
		after     time.Duration
		endpoints []discovery.Endpoint
	}
	whole := time.Duration(0)
	for name, tt := range map[string]struct {
		steps []step
		cut   time.Duration // when the stream ends; whole if it does not
	}{
		"not ready":                        {[]step{{10 * time.Second, []discovery.Endpoint{podAt(podA, notReady), podAt(podB, nil)}}}, whole},
		"not ready, and no other is":       {[]step{{10 * time.Second, []discovery.Endpoint{podAt(podA, notReady)}}}, whole},
		"given to another zone":            {[]step{{10 * time.Second, []discovery.Endpoint{podAt(podA, inZone("far")), podAt(podB, inZone("here"))}}}, whole},
		"terminating":                      {[]step{{10 * time.Second, []discovery.Endpoint{podAt(podA, terminating), podAt(podB, nil)}}}, 40 * time.Second},
		"gone":                             {[]step{{10 * time.Second, []discovery.Endpoint{podAt(podB, nil)}}}, 40 * time.Second},
		"gone, with all others":            {[]step{{10 * time.Second, nil}}, 40 * time.Second},
		"replaced by another at its place": {[]step{{10 * time.Second, []discovery.Endpoint{podAt(podA, func(e *discovery.Endpoint) { e.UID = "other" })}}}, 40 * time.Second},
		"not ready, and then terminating": {[]step{
			{10 * time.Second, []discovery.Endpoint{podAt(podA, notReady), podAt(podB, nil)}},
			{100 * time.Second, []discovery.Endpoint{podAt(podA, terminating), podAt(podB, nil)}},
		}, 140 * time.Second},
		"terminating, and then gone": {[]step{
			{10 * time.Second, []discovery.Endpoint{podAt(podA, terminating), podAt(podB, nil)}},
			{20 * time.Second, []discovery.Endpoint{podAt(podB, nil)}},
		}, 40 * time.Second},
		"not ready, and then gone": {[]step{
			{10 * time.Second, []discovery.Endpoint{podAt(podA, notReady)}},
			{100 * time.Second, []discovery.Endpoint{podAt(podB, nil)}},
		}, 140 * time.Second},
		"gone, and back": {[]step{
			{10 * time.Second, []discovery.Endpoint{podAt(podB, nil)}},
			{20 * time.Second, []discovery.Endpoint{podAt(podA, nil), podAt(podB, nil)}},
		}, whole},
		"gone, and back, not ready": {[]step{
			{10 * time.Second, []discovery.Endpoint{podAt(podB, nil)}},
			{20 * time.Second, []discovery.Endpoint{podAt(podA, notReady), podAt(podB, nil)}},
		}, whole},
		"back, and gone again": {[]step{
			{10 * time.Second, []discovery.Endpoint{podAt(podB, nil)}},
			{20 * time.Second, []discovery.Endpoint{podAt(podA, nil)}},
			{10 * time.Second, []discovery.Endpoint{podAt(podB, nil)}},
		}, 70 * time.Second},
	} {
		for proto, protocols := range map[string]*http.Protocols{"HTTP/1": nil, "h2c": h2c()} {
			t.Run(name+", "+proto, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var n network
					n.set(podA, handled(protocols, ticks))
					n.set(podB, handled(protocols, ticks))
					s := newSource()
					s.set(viewOf(podAt(podA, nil)))
					transport := httpbalancer.New(httpbalancer.Config{
						Base: &http.Transport{DialContext: n.dial, Protocols: protocols}, Source: s,
						Balancer: balancer.Config{Policy: balancer.RoundRobin}, Selection: selection.Config{Locality: topology.Locality{Zone: "here"}},
					})
					defer transport.Close()
					began := time.Now()
					resp, err := (&http.Client{Transport: transport}).Get("http://quiz.kiada/")
					if err != nil {
						t.Fatal(err)
					}
					defer resp.Body.Close()
					go func() {
						for _, step := range tt.steps {
							time.Sleep(step.after) // of virtual time
							s.set(viewOf(step.endpoints...))
						}
					}()
					got, err := io.ReadAll(resp.Body)
					took := time.Since(began)
					switch {
					case tt.cut == whole:
						if err != nil || len(got) != 600 {
							t.Errorf("cut off after %v: %v", took, err)
						}
					case !errors.Is(err, httpbalancer.ErrDrainTimeout):
						t.Errorf("error %v, want one that wraps ErrDrainTimeout", err)
					case took != tt.cut:
						t.Errorf("cut off after %v, want %v", took, tt.cut)
					}
				})
			})
		}
	}
}

// A readiness probe that failed once costs no connection that is in use.
func TestAnEndpointThatReturnsTakesItsConnectionsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n network
		var conns atomic.Int64
		serve := handled(h2c(), func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/stream" {
				ticks(w, r)
				return
			}
			io.WriteString(w, "ok")
		})
		n.set(podA, func(c net.Conn) { conns.Add(1); serve(c) })
		s := newSource()
		s.set(viewOf(podAt(podA, nil)))
		transport := virtual(s, &n, h2c())
		defer transport.Close()
		client := &http.Client{Transport: transport}
		var streams []*http.Response
		for range 2 {
			resp, err := client.Get("http://quiz.kiada/stream")
			if err != nil {
				t.Fatal(err)
			}
			streams = append(streams, resp)
		}
		for i := range 3 {
			s.set(viewOf(podAt(podA, notReady)))
			synctest.Wait()
			if i == 1 { // one of two ends in the meantime
				streams[0].Body.Close()
			}
			resp, err := client.Get("http://quiz.kiada/")
			mustFail(t, discovery.ErrNoEndpoints)(resp, err)
			s.set(viewOf(podAt(podA, nil)))
			synctest.Wait()
			if got := get(t, client, "http://quiz.kiada/"); got != "ok" {
				t.Errorf("answer %q", got)
			}
			if n := transport.InFlight(); n != 0 {
				t.Errorf("%d in flight of those that were picked since", n)
			}
		}
		if got, err := io.ReadAll(streams[1].Body); err != nil || len(got) != 600 {
			t.Errorf("the stream ended after %d of 600: %v", len(got), err)
		}
		streams[1].Body.Close()
		if n := conns.Load(); n != 1 {
			t.Errorf("%d connections, want 1", n)
		}
	})
}

// The probe and the attempts to reach a pod go on for one that has returned, and end
// for one that has left.
func TestAnEndpointThatReturnsIsReachedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n network
		n.set(podA, handled(h2c(), ticks))
		n.set(podB, handled(h2c(), ticks))
		s := newSource()
		s.set(viewOf(podAt(podA, nil), podAt(podB, nil)))
		transport := httpbalancer.New(httpbalancer.Config{
			Base: &http.Transport{DialContext: n.dial, Protocols: h2c()}, Source: s,
			Balancer: balancer.Config{Policy: balancer.RoundRobin}, Probe: &httpbalancer.Probe{},
		})
		defer transport.Close()
		for range 2 {
			resp, err := (&http.Client{Transport: transport}).Get("http://quiz.kiada/")
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
		}
		s.set(viewOf(podAt(podA, notReady), podAt(podB, nil)))
		synctest.Wait()
		s.set(viewOf(podAt(podA, nil), podAt(podB, nil)))
		synctest.Wait()
		n.set(podA, nil)             // new connections are refused
		time.Sleep(50 * time.Second) // of virtual time
		if transport.Fit() != 1 {
			t.Errorf("%d pods are fit, want 1: nobody probes the one that has returned", transport.Fit())
		}
		n.set(podA, handled(h2c(), ticks))
		time.Sleep(time.Minute) // of virtual time
		if transport.Fit() != 2 {
			t.Errorf("%d pods are fit, want 2", transport.Fit())
		}
		s.set(viewOf(podAt(podB, nil)))
		synctest.Wait()
		n.set(podA, nil)
		before := n.failures()
		time.Sleep(time.Hour) // of virtual time
		if after := n.failures(); after != before {
			t.Errorf("%d connections tried to a pod that has left", after-before)
		}
	})
}

func TestAnUpgradedConnectionOutlivesReadinessAndEndsWithThePod(t *testing.T) {
	for _, ends := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var n network
			n.set(podA, handled(nil, shout))
			s := newSource()
			s.set(viewOf(podAt(podA, nil)))
			transport := virtual(s, &n, nil)
			defer transport.Close()
			req := request(t, func(r *http.Request) {
				r.Header.Set("Connection", "Upgrade")
				r.Header.Set("Upgrade", "websocket")
			})
			resp, err := transport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			stream := resp.Body.(io.ReadWriteCloser)
			defer stream.Close()
			state := notReady
			if ends {
				state = terminating
			}
			s.set(viewOf(podAt(podA, state), podAt(podB, nil)))
			time.Sleep(time.Hour) // of virtual time
			io.WriteString(stream, "hello\n")
			line, err := bufio.NewReader(stream).ReadString('\n')
			switch {
			case ends && !errors.Is(err, httpbalancer.ErrDrainTimeout):
				t.Errorf("error %v, want one that wraps ErrDrainTimeout", err)
			case !ends && line != "HELLO\n":
				t.Errorf("read %q, %v", line, err)
			}
		})
	}
}

// A request that waits for its answer when the time is over says so, too; the rest
// of the body of another one, and Close.
func TestErrorsOfTheDrainTimeoutSaySo(t *testing.T) {
	for proto, protocols := range map[string]*http.Protocols{"HTTP/1": nil, "h2c": h2c()} {
		for _, closes := range []bool{false, true} {
			t.Run(proto, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var n network
					n.set(podA, handled(protocols, func(_ http.ResponseWriter, r *http.Request) {
						io.Copy(io.Discard, r.Body)
						<-r.Context().Done()
					}))
					s := newSource()
					s.set(viewOf(podAt(podA, nil)))
					transport := virtual(s, &n, protocols)
					defer transport.Close()
					go func() {
						time.Sleep(time.Second) // of virtual time
						if closes {
							transport.Close()
						} else {
							s.set(viewOf())
						}
					}()
					resp, err := (&http.Client{Transport: transport}).Post("http://quiz.kiada/", "text/plain", onceBody("hello"))
					mustFail(t, httpbalancer.ErrDrainTimeout)(resp, err)
				})
			})
		}
	}
}

// A subset that moves on leaves alone what it has begun.
func TestAPodThatASubsetLeavesOutIsNotCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		t.Setenv("POD_NAME", "client")
		var n network
		for _, addr := range []string{podA, podB} {
			n.set(addr, handled(nil, ticks))
		}
		s := newSource()
		s.set(viewOf(podAt(podA, nil)))
		transport := httpbalancer.New(httpbalancer.Config{Base: &http.Transport{DialContext: n.dial}, Source: s, Selection: selection.Config{SubsetSize: 1}})
		defer transport.Close()
		responses := map[string]*http.Response{}
		for _, addr := range []string{podA, podB} {
			s.set(viewOf(podAt(addr, nil)))
			synctest.Wait()
			resp, err := (&http.Client{Transport: transport}).Get("http://quiz.kiada/")
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			responses[addr] = resp
		}
		s.set(viewOf(podAt(podA, nil), podAt(podB, nil))) // of which one is chosen
		for addr, resp := range responses {
			if got, err := io.ReadAll(resp.Body); err != nil || len(got) != 600 {
				t.Errorf("%s is cut off after %d of 600: %v", addr, len(got), err)
			}
		}
	})
}

func TestEndpointsThatComeAndGoUnderLoadLoseNothing(t *testing.T) {
	for proto, protocols := range map[string]*http.Protocols{"HTTP/1": nil, "h2c": h2c()} {
		t.Run(proto, func(t *testing.T) {
			pods := []*server{startWith(t, "quiz-0", nil, protocols), startWith(t, "quiz-1", nil, protocols)}
			s := serving(pods...)
			transport := newTransport(t, httpbalancer.Config{Source: s, Base: &http.Transport{Protocols: protocols}})
			client := &http.Client{Transport: transport}
			ctx, stop := context.WithCancel(t.Context())
			changed := make(chan struct{})
			go func() {
				defer close(changed)
				for i := 0; ctx.Err() == nil; i++ {
					e := []discovery.Endpoint{pods[0].endpoint(), pods[1].endpoint()}
					switch i % 4 {
					case 0:
						notReady(&e[0])
					case 2:
						e = e[:1]
					}
					s.set(viewOf(e...))
					<-time.After(time.Millisecond)
				}
			}()
			together(t, 8, 200, func(int) string { return "http://quiz.kiada/" }, client)
			stop()
			<-changed
			s.publish(pods...)
			eventually(t, "nothing is in flight", func() bool { return transport.InFlight() == 0 && transport.Fit() == 2 })
		})
	}
}

func TestCloseWaitsForPodsThatAreNotReadyNoLongerThanTheDrainTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n network
		n.set(podA, handled(h2c(), ticks))
		s := newSource()
		s.set(viewOf(podAt(podA, nil)))
		transport := virtual(s, &n, h2c())
		resp, err := (&http.Client{Transport: transport}).Get("http://quiz.kiada/")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		s.set(viewOf(podAt(podA, notReady)))
		time.Sleep(time.Minute) // of virtual time
		began := time.Now()
		transport.Close()
		if took := time.Since(began); took != 30*time.Second {
			t.Errorf("Close took %v, want 30 s", took)
		}
		if _, err := io.ReadAll(resp.Body); !errors.Is(err, httpbalancer.ErrDrainTimeout) {
			t.Errorf("error %v, want one that wraps ErrDrainTimeout", err)
		}
	})
}
