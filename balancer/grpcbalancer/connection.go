package grpcbalancer

import (
	"slices"
	"sync/atomic"
	"time"

	gbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	grpcresolver "google.golang.org/grpc/resolver"

	"github.com/sidestep-lb/sidestep/balancer/adapter"
	"github.com/sidestep-lb/sidestep/health"
)

// A connection is what the pool keeps for one backend: usually one SubConn. A
// backend with addresses of both families, or several, gets a SubConn for each
// while it is not known which of them leads to it (RFC 8305, gRFC A61), and one
// with more requests than fit on a connection gets further ones, see scale.go.
type connection struct {
	// Set at the start and read-only.
	pool      *pool
	backend   *adapter.Backend
	addresses []grpcresolver.Address // the preferred one first

	ready atomic.Pointer[[]*subConn] // those that are; never changed in place; nil if none is

	// Guarded by the pool's mu.
	state connectivity.State // Connecting, Ready, TransientFailure or Shutdown
	subs  []*subConn
	first subConn     // of subs, usually the only one
	next  *time.Timer // tries the next address
	err   error       // the latest one

	growth   atomic.Int32 // still, growing or stunted, see scale.go
	shrinker *time.Timer  // guarded by the pool's mu
}

// attemptDelay is how long an address has to lead to a connection before the
// next one is tried, too (RFC 8305, section 5; gRFC A61).
const attemptDelay = 250 * time.Millisecond

// connect is the Balancer's hook for a new backend. The connection is not made
// before startDials.
func (p *pool) connect(b *adapter.Backend) adapter.Conn {
	// A copy: the resolver's slice may be part of one with the addresses of all endpoints.
	c := &connection{pool: p, backend: b, addresses: slices.Clone(p.addresses.find(b.Endpoint().Identity()))}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[connectivity.Connecting]++
	c.state = connectivity.Connecting
	c.add(&c.first, c.addresses[0])
	return c
}

// add makes a SubConn that is to be connected. It is called with the pool's mu
// held.
func (c *connection) add(s *subConn, to grpcresolver.Address) {
	s.conn, s.address = c, to
	//nolint:staticcheck // only the use with several addresses is deprecated
	sub, err := c.pool.cc.NewSubConn([]grpcresolver.Address{to}, gbalancer.NewSubConnOptions{StateListener: s.changed})
	if err != nil { // the channel is closing
		return
	}
	s.sub = sub
	c.subs = append(c.subs, s)
	c.pool.dials.add(s)
}

// addNext tries the next address, if there is one. It is called with the pool's
// mu held.
func (c *connection) addNext() {
	i := slices.IndexFunc(c.addresses, func(a grpcresolver.Address) bool {
		return !slices.ContainsFunc(c.subs, func(s *subConn) bool { return sameAddress(s.address, a) })
	})
	if i >= 0 {
		c.add(&subConn{}, c.addresses[i])
	}
}

// awaitNext sees to it that the next address is tried in a moment. It is called
// with the pool's mu held, when one is dialled.
func (c *connection) awaitNext() {
	if len(c.addresses) == 1 || c.next != nil {
		return
	}
	c.next = time.AfterFunc(attemptDelay, func() {
		p := c.pool
		p.mu.Lock()
		c.next = nil
		if c.state != connectivity.Shutdown && c.ready.Load() == nil {
			c.addNext()
		}
		p.mu.Unlock()
		p.startDials()
	})
}

// settled is called with the pool's mu held when a SubConn is ready: it is the
// one, so those to other addresses are given up.
func (c *connection) settled(s *subConn) {
	if c.next != nil {
		c.next.Stop()
		c.next = nil
	}
	c.drop(func(o *subConn) bool { return !sameAddress(o.address, s.address) })
}

// drop gives up some of the SubConns. It is called with the pool's mu held.
func (c *connection) drop(which func(*subConn) bool) {
	c.subs = slices.DeleteFunc(c.subs, func(s *subConn) bool {
		if !which(s) {
			return false
		}
		s.close()
		return true
	})
}

// sum puts together what the SubConns say, and takes note of what changed. It
// is called with the pool's mu held, and told calls the outcome.
func (c *connection) sum() {
	var ready []*subConn
	failed := 0
	for _, s := range c.subs {
		if s.state == connectivity.Ready {
			ready = append(ready, s)
		}
		if s.failed {
			failed++
		}
	}
	switch {
	case len(ready) > 0:
		c.ready.Store(&ready)
		c.move(connectivity.Ready)
	case failed > 0 && failed == len(c.subs):
		// A connection that has failed counts as such until it is ready, however
		// often it tries (gRFC A62). Otherwise requests would hang between attempts.
		c.ready.Store(nil)
		c.move(connectivity.TransientFailure)
	default:
		c.ready.Store(nil)
		c.move(connectivity.Connecting)
	}
}

// move is called with the pool's mu held.
func (c *connection) move(to connectivity.State) {
	c.pool.conns[c.state]--
	c.pool.conns[to]++
	c.state = to
}

// tell tells the Balancer, and gRPC, what the connection has come to. gRPC calls
// the listeners of a channel one at a time, and so this.
func (c *connection) tell(state connectivity.State) {
	switch state {
	case connectivity.Ready:
		c.backend.Observe(health.Success)
	case connectivity.TransientFailure:
		c.backend.Observe(health.Unreachable)
		c.pool.settle()
	case connectivity.Connecting:
		c.backend.Observe(health.Unreachable)
	}
}

// drainDelay is how long a connection that is to drain takes streams still. A
// request that was sent here before the last update and comes after Shutdown
// may hang until its deadline (grpc-go 1.85: a stream that waits for its quota
// does not hear of a local drain).
const drainDelay = 100 * time.Millisecond

// Drain implements adapter.Conn. Requests in flight finish: Shutdown closes a
// connection only after its last stream.
func (c *connection) Drain() {
	p := c.pool
	p.mu.Lock()
	c.move(connectivity.Shutdown)
	for _, timer := range []*time.Timer{c.next, c.shrinker} {
		if timer != nil {
			timer.Stop()
		}
	}
	c.drop(func(*subConn) bool { return true })
	c.ready.Store(nil)
	p.mu.Unlock()
	p.startDials()
	p.settle()
}
