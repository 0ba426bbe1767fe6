package grpcbalancer

import (
	"time"

	gbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	grpcresolver "google.golang.org/grpc/resolver"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/health"
)

// A subConn is the connection to one backend.
type subConn struct {
	// Set at the start and read-only.
	pool    *pool
	backend *balancer.Backend
	sub     gbalancer.SubConn
	picked  gbalancer.PickResult // of a plain pick of the backend

	// Connecting, Ready, TransientFailure or Shutdown; guarded by the pool's mu.
	state connectivity.State
}

// connect is the Balancer's hook for a new backend.
func (p *pool) connect(b *balancer.Backend) balancer.Conn {
	c := &subConn{pool: p, backend: b}
	address := p.addresses.find(b.Endpoint().Identity())
	//nolint:staticcheck // only the use with several addresses is deprecated
	sub, err := p.cc.NewSubConn([]grpcresolver.Address{address}, gbalancer.NewSubConnOptions{StateListener: c.changed})
	if err != nil { // the channel is closing
		p.move(c, connectivity.TransientFailure, err)
		return c
	}
	c.sub = sub
	c.picked = gbalancer.PickResult{SubConn: sub, Done: func(info gbalancer.DoneInfo) { p.finish(b.Picked(), info) }}
	p.move(c, connectivity.Connecting, nil)
	sub.Connect()
	return c
}

// changed is the listener for the state of the connection. gRPC calls it, and
// healthChanged, one at a time.
func (c *subConn) changed(s gbalancer.SubConnState) {
	switch s.ConnectivityState {
	case connectivity.Ready:
		// Ready is what the health listener says. Without health checks in the
		// service config that is the case at once.
		c.sub.RegisterHealthListener(c.healthChanged)
	case connectivity.Idle:
		c.set(connectivity.Connecting, nil)
		c.sub.Connect()
	case connectivity.Connecting, connectivity.TransientFailure:
		c.set(s.ConnectivityState, s.ConnectionError)
	}
}

// healthChanged is the listener for what the server says of its health (gRFC A17).
func (c *subConn) healthChanged(s gbalancer.SubConnState) {
	c.set(s.ConnectivityState, s.ConnectionError)
}

func (c *subConn) set(s connectivity.State, err error) {
	if !c.pool.move(c, s, err) {
		return
	}
	if s == connectivity.Ready {
		c.backend.Observe(health.Success)
		return
	}
	c.backend.Observe(health.Unreachable)
	if s == connectivity.TransientFailure {
		c.pool.settle()
	}
}

// drainDelay is how long a connection that is to drain takes streams still. A
// request that was sent here before the last update and comes after Shutdown
// may hang until its deadline (grpc-go 1.85: a stream that waits for its quota
// does not hear of a local drain).
const drainDelay = 100 * time.Millisecond

// Drain implements balancer.Conn. Requests in flight finish: Shutdown closes a
// connection only after its last stream.
func (c *subConn) Drain() {
	c.pool.move(c, connectivity.Shutdown, nil)
	if c.sub != nil {
		time.AfterFunc(drainDelay, c.sub.Shutdown)
	}
}

// move notes the new state of c, unless c has been shut down.
func (p *pool) move(c *subConn, s connectivity.State, err error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.state == connectivity.Shutdown {
		return false
	}
	if err != nil {
		p.lastErr = err
	}
	// A connection that has failed counts as such until it is ready, however
	// often it tries (gRFC A62). Otherwise requests would hang between attempts.
	if c.state == connectivity.TransientFailure && s == connectivity.Connecting {
		return true
	}
	p.conns[c.state]--
	p.conns[s]++
	c.state = s
	return true
}
