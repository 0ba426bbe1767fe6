package grpcbalancer

import (
	"sync/atomic"
	"time"

	gbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	grpcresolver "google.golang.org/grpc/resolver"
)

// A subConn is one TCP connection to a backend, which gRPC makes anew when it is
// lost.
type subConn struct {
	// Set at the start and read-only.
	conn    *connection
	address grpcresolver.Address
	spare   bool // there were others when it was made, see scale.go
	sub     gbalancer.SubConn

	link     atomic.Pointer[link] // the connection that there is or was last
	inFlight atomic.Int64         // requests, if the pool scales

	// Guarded by the pool's mu.
	state   connectivity.State // as the server's health has it
	up      bool               // it is connected, whatever the server says of its health
	failed  bool               // since it was ready last
	dialing bool               // it counts among the dials that are going on
	grown   bool               // it is a spare one that has been ready
	closed  bool
}

// changed is the listener for the state of the SubConn. gRPC calls it, and
// healthChanged, one at a time.
func (s *subConn) changed(now gbalancer.SubConnState) {
	p := s.conn.pool
	if now.ConnectivityState != connectivity.Ready {
		s.become(now.ConnectivityState, false, now.ConnectionError)
		return
	}
	p.mu.Lock()
	closed := s.closed
	if !closed {
		s.up = true
		s.link.Store(s.newLink())
		p.dials.done(s)
		s.conn.settled(s)
	}
	p.mu.Unlock()
	if closed {
		return
	}
	p.startDials()
	// Ready is what the health listener says. Without health checks in the
	// service config that is the case at once.
	s.sub.RegisterHealthListener(s.healthChanged)
	s.watchReports()
}

// healthChanged is the listener for what the server says of its health (gRFC A17).
func (s *subConn) healthChanged(now gbalancer.SubConnState) {
	s.become(now.ConnectivityState, true, now.ConnectionError)
}

// become takes note of a state.
func (s *subConn) become(state connectivity.State, up bool, err error) {
	p, c := s.conn.pool, s.conn
	p.mu.Lock()
	if s.closed || state == connectivity.Shutdown {
		p.mu.Unlock()
		return
	}
	if err != nil {
		p.lastErr, c.err = err, err
	}
	// Requests wait for another picker that were to use s, or that made it necessary.
	awaited := s.spare || s.state == connectivity.Ready && state != connectivity.Ready
	s.state, s.up = state, up
	switch state {
	case connectivity.Ready:
		s.failed = false
	case connectivity.TransientFailure:
		s.failed = true
		s.hasFailed()
	case connectivity.Idle: // the connection was lost, or its backoff is over
		s.reconnect()
	}
	c.sum()
	if s.spare && !s.grown && state == connectivity.Ready {
		s.grown = true
		c.growth.Store(still) // after sum: a pick that sees it has s to choose from
	}
	now := c.state
	p.mu.Unlock()
	p.startDials()
	c.tell(now)
	if awaited && now == connectivity.Ready {
		p.push()
	}
}

// hasFailed is called with the pool's mu held.
func (s *subConn) hasFailed() {
	s.conn.pool.dials.done(s)
	switch {
	case s.up: // and it is the server that says that it is not well
	case s.conn.isSpare(s):
		s.conn.dropSpare(s)
	default:
		s.conn.addNext() // another address may lead to the backend
	}
}

// reconnect is called with the pool's mu held.
func (s *subConn) reconnect() {
	s.conn.pool.dials.done(s)
	if s.conn.isSpare(s) {
		s.conn.dropSpare(s)
		return
	}
	s.conn.pool.dials.add(s)
}

// close gives the SubConn up. It is called with the pool's mu held.
func (s *subConn) close() {
	s.closed = true
	s.conn.pool.dials.done(s)
	time.AfterFunc(drainDelay, s.sub.Shutdown)
}
