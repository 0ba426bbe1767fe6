package grpcbalancer

import (
	"slices"
	"time"

	"google.golang.org/grpc/connectivity"
)

// A server lets a client have only so many streams on a connection
// (SETTINGS_MAX_CONCURRENT_STREAMS, RFC 9113 section 5.1.2), and gRPC lets
// further requests wait for one of them to end. Where Config.MaxConnections is
// more than one, a backend gets another connection when all of those it has
// carry as many requests as Config.StreamsPerConnection says (the problem of
// gRFC A105), and gives it back when it has not been needed for a while.

// defaultStreams is what RFC 9113 recommends servers to allow at least.
const defaultStreams = 100

const (
	shrinkAfter = time.Minute     // between looks whether a connection is one too many
	growAgain   = 5 * time.Second // after an attempt that failed
)

// Whether another SubConn is on its way.
const (
	still int32 = iota
	growing
	stunted // it could not be made, and requests take what there is
)

// pick returns the SubConn for the next request and counts the request there. It
// is nil if the request has to wait: for the backend, of which none is ready, or
// for the further connection that it makes necessary. In both cases gRPC hears of
// the next change.
func (c *connection) pick() *subConn {
	for {
		ready := c.ready.Load()
		if ready == nil {
			return nil
		}
		best := (*ready)[0]
		if c.pool.maxConns == 1 {
			return best
		}
		least := best.inFlight.Load()
		for _, s := range (*ready)[1:] {
			if n := s.inFlight.Load(); n < least {
				best, least = s, n
			}
		}
		growth := c.growth.Load()
		switch {
		case least < c.pool.streams:
			if best.inFlight.Add(1) <= c.pool.streams {
				return best
			}
			best.inFlight.Add(-1) // others have taken what room there was
		case len(*ready) == c.pool.maxConns || growth == stunted:
			best.inFlight.Add(1)
			return best
		case growth == growing:
			return nil
		case c.ready.Load() != ready: // it has grown a moment ago
		case c.growth.CompareAndSwap(still, growing):
			time.AfterFunc(0, c.grow) // the pick takes no lock
			return nil
		}
	}
}

// room reports whether one of the connections has room for a request. If not, it
// sees to it that there will be another connection, if there may.
func (c *connection) room() bool {
	ready := c.ready.Load()
	if ready == nil {
		return false
	}
	for _, s := range *ready {
		if s.inFlight.Load() < c.pool.streams {
			return true
		}
	}
	if len(*ready) < c.pool.maxConns && c.growth.Load() == still && c.ready.Load() == ready && c.growth.CompareAndSwap(still, growing) {
		time.AfterFunc(0, c.grow) // the pick takes no lock
	}
	return false
}

// leave ends what pick counted.
func (s *subConn) leave() {
	if s.conn.pool.maxConns > 1 {
		s.inFlight.Add(-1)
	}
}

// grow makes another connection to the address that the backend is reached by.
func (c *connection) grow() {
	p := c.pool
	p.mu.Lock()
	if ready := c.ready.Load(); ready != nil && len(c.subs) < p.maxConns {
		c.add(&subConn{spare: true}, (*ready)[0].address)
		if c.shrinker == nil {
			c.shrinker = time.AfterFunc(shrinkAfter, c.shrink)
		}
		p.mu.Unlock()
		p.startDials()
		return
	}
	c.stunt() // one that was lost comes back, or all are lost
	p.mu.Unlock()
	p.push()
}

// stunt lets requests take what there is for a while.
func (c *connection) stunt() {
	c.growth.Store(stunted)
	time.AfterFunc(growAgain, func() { c.growth.CompareAndSwap(stunted, still) })
}

// isSpare reports whether the backend can be reached without s. It is called
// with the pool's mu held.
func (c *connection) isSpare(s *subConn) bool {
	return s.spare && slices.ContainsFunc(c.subs, func(o *subConn) bool { return o != s && o.state == connectivity.Ready })
}

// dropSpare gives up a connection that was lost or could not be made. It is
// called with the pool's mu held.
func (c *connection) dropSpare(s *subConn) {
	c.drop(func(o *subConn) bool { return o == s })
	if !s.grown {
		c.stunt()
	}
}

// shrink gives up a connection if half of the others' room makes up for it.
func (c *connection) shrink() {
	p := c.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.state == connectivity.Shutdown {
		return
	}
	if ready := c.ready.Load(); ready != nil && len(*ready) > 1 {
		inFlight := int64(0)
		for _, s := range *ready {
			inFlight += s.inFlight.Load()
		}
		if last := (*ready)[len(*ready)-1]; 2*inFlight <= p.streams*int64(len(*ready)-1) {
			c.drop(func(s *subConn) bool { return s == last })
			c.sum()
		}
	}
	c.shrinker = nil
	if len(c.subs) > 1 {
		c.shrinker = time.AfterFunc(shrinkAfter, c.shrink)
	}
}
