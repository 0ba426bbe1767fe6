package outages

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/kube/kubetest"
)

// A relay is the address by which clients know the API server, wherever that is.
type relay struct {
	listener net.Listener
	running  sync.WaitGroup

	mu    sync.Mutex
	to    string                // HOST:PORT; guarded by mu, as is conns
	conns map[net.Conn]struct{} // both sides of all connections
}

func newRelay(t *testing.T, to string) *relay {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{listener: listener, to: to, conns: make(map[net.Conn]struct{})}
	r.running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			r.running.Go(func() { r.carry(conn) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		r.moveTo("")
		r.running.Wait()
	})
	return r
}

func (r *relay) url() string { return "http://" + r.listener.Addr().String() }

// carry copies both ways until either side ends.
func (r *relay) carry(conn net.Conn) {
	defer conn.Close()
	r.mu.Lock()
	server, err := net.Dial("tcp", r.to)
	if err != nil {
		r.mu.Unlock()
		return
	}
	r.conns[conn], r.conns[server] = struct{}{}, struct{}{}
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.conns, conn)
		delete(r.conns, server)
		r.mu.Unlock()
	}()
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(conn, server)
		conn.Close()
	})
	_, _ = io.Copy(server, conn)
	server.Close()
	back.Wait()
}

// moveTo leads to another server from now on, and cuts what led to the old one.
func (r *relay) moveTo(to string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.to = to
	for conn := range r.conns {
		conn.Close()
	}
}

func TestAnAPIServerThatMovesIsReadAtItsNewAddress(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"http", "grpc"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			var front *relay
			c := newClusterAt(t, protocol, func(s *kubetest.Server) string {
				front = newRelay(t, strings.TrimPrefix(s.URL(), "http://"))
				return front.url()
			})
			c.serve("quiz", old)
			c.must(protocol, "quiz", old)
			another := kubetest.Start()
			t.Cleanup(another.Close)

			front.moveTo("127.0.0.1:1") // nobody is at the old address any more
			for range 20 {
				c.must(protocol, "quiz", old)
			}
			c.api = another
			c.serve("quiz", old) // as the other one did, and then more
			c.serve("quiz", fresh)
			front.moveTo(strings.TrimPrefix(another.URL(), "http://"))
			c.until(protocol, "quiz", fresh)
			c.notDegraded(protocol, "quiz")
			for range 20 {
				c.must(protocol, "quiz", fresh)
			}
		})
	}
}

// Outside of a cluster there is nobody to wait for, with a deadline or without.
func TestOutsideOfAClusterRequestsFailAtOnce(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	for _, protocol := range []string{"http", "grpc"} {
		t.Run(protocol, func(t *testing.T) {
			c := newClusterAt(t, protocol, func(*kubetest.Server) string { return "" })
			c.name("quiz", fresh) // whatever DNS there is knows nothing of a cluster
			start := time.Now()
			_, err := c.ask(t.Context(), protocol, "quiz")
			if protocol == "http" && !errors.Is(err, discovery.ErrUnavailable) || protocol == "grpc" && status.Code(err) != codes.Unavailable {
				t.Errorf("error %v", err)
			}
			if err == nil || !strings.Contains(err.Error(), "not in a cluster") {
				t.Errorf("the error does not say why: %v", err)
			}
			if took := time.Since(start); took > time.Second {
				t.Errorf("took %v", took)
			}
			if asked := c.dns.Asked(); len(asked) > 0 {
				t.Errorf("DNS was asked for %q", asked)
			}
		})
	}
}

// What the Service says goes on as it was; where its endpoints are is read anew.
func TestA403ForServicesAloneStopsNothing(t *testing.T) {
	t.Parallel()
	inBoth(t, func(t *testing.T, c *cluster, protocol string) {
		c.serve("quiz", old)
		c.name("quiz", old)
		c.must(protocol, "quiz", old)
		c.api.Forbid(kubetest.Any, kubetest.Services)
		c.api.DropWatches()
		ports := kubetest.Ports{"main": int32(c.port)}
		c.api.SetEndpointSlice(kubetest.Slice("kiada", "quiz", "quiz-1", ports, kubetest.Ready(fresh, "quiz-0")))
		c.until(protocol, "quiz", fresh)
		for end := time.Now().Add(soon); !c.staleAndNotDegraded("quiz"); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("it is not stale, or served by DNS")
			}
		}
		c.must(protocol, "quiz", fresh)
	})
}

func (c *cluster) staleAndNotDegraded(service string) bool {
	for _, s := range discovery.Statuses() {
		if s.Target.Service == service && s.Target.Port.Number == c.port {
			return s.Snapshot != nil && s.Snapshot.Degraded == nil && s.Stale()
		}
	}
	return false
}
