package httpbalancer

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/sidestep-lb/sidestep/balancer/adapter"
	"github.com/sidestep-lb/sidestep/discovery"
)

// ErrDrainTimeout is in the error of a request, or of the body of its response, that
// was cut off because Config.DrainTimeout had passed: since its pod began to
// terminate or left the Service, or since Close.
var ErrDrainTimeout = errors.New("cut off by the DrainTimeout")

// errCut is what net/http is told when it uses a connection that was cut off.
var errCut = fmt.Errorf("%w: %w", ErrDrainTimeout, net.ErrClosed)

// Drain implements adapter.Conn. Idle connections close at once, the others when
// their last attempt has ended. Whether the DrainTimeout applies is for departures
// to say. It may be called again after the endpoint has returned.
func (c *backendConn) Drain() {
	m := c.member.Load()
	m.redial.stop()
	if m.prober != nil {
		m.prober.stop()
	}
	c.pool.departures.add(c)
	c.leaving.Store(true)
	c.closeIdle()
	c.closeUnused()
}

// rejoin reports whether the backendConn, which has left, is that of b from now on,
// with the connections that are in use.
func (c *backendConn) rejoin(b *adapter.Backend) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.leaving.Store(false)
	c.stopDeadlineLocked()
	c.join(new(membership), b)
	return true
}

// startDeadline lets the DrainTimeout begin, unless it has.
func (c *backendConn) startDeadline() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.deadline != nil {
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(c.pool.transport.config.DrainTimeout, func() {
		c.closeIf(func() bool { return c.deadline == timer })
	})
	c.deadline = timer
}

// stopDeadline takes startDeadline back.
func (c *backendConn) stopDeadline() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopDeadlineLocked()
}

func (c *backendConn) stopDeadlineLocked() {
	if c.deadline != nil {
		c.deadline.Stop()
		c.deadline = nil
	}
}

// departures are the backendConns that have left and have requests in flight. A pod
// that is not ready, or that a hint or a subset gives to other clients, goes on with
// what it has for as long as it takes, as under kube-proxy. The DrainTimeout applies
// to a pod that terminates, and to one of which discovery says nothing any more: it
// is gone, or does not belong to the Service.
type departures struct {
	mu         sync.Mutex
	conns      map[*backendConn]struct{}           // guarded by mu
	byIdentity map[discovery.Identity]*backendConn // those that may return; guarded by mu
	over       bool                                // the DrainTimeout applies to all; guarded by mu
}

// add is told of one that is about to leave. Unless all is over, review follows, or
// it is one that has never been picked and is listed.
func (d *departures) add(c *backendConn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conns == nil {
		d.conns, d.byIdentity = make(map[*backendConn]struct{}), make(map[discovery.Identity]*backendConn)
	}
	d.conns[c] = struct{}{}
	if c.member.Load().backend != nil {
		d.byIdentity[c.endpoint.Identity()] = c
	}
	if d.over {
		c.startDeadline()
	}
}

// remove is told of one that has nothing in flight any more.
func (d *departures) remove(c *backendConn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.removeLocked(c)
}

func (d *departures) removeLocked(c *backendConn) {
	delete(d.conns, c)
	if id := c.endpoint.Identity(); d.byIdentity[id] == c {
		delete(d.byIdentity, id)
	}
}

// take returns the backendConn of an endpoint that returns, if there is one: it
// belongs to b from now on.
func (d *departures) take(b *adapter.Backend) *backendConn {
	e := b.Endpoint()
	d.mu.Lock()
	c := d.byIdentity[e.Identity()]
	if c == nil || c.endpoint.AltAddr != e.AltAddr || c.endpoint.AppProtocol != e.AppProtocol {
		d.mu.Unlock()
		return nil
	}
	d.removeLocked(c)
	d.mu.Unlock()
	if !c.rejoin(b) {
		return nil
	}
	return c
}

// review looks at what a Snapshot says of those that have left.
func (d *departures) review(s *discovery.Snapshot) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.conns) == 0 {
		return
	}
	stays := make(map[discovery.Identity]bool, len(d.conns))
	for c := range d.conns {
		stays[c.endpoint.Identity()] = false
	}
	for i := range s.Endpoints {
		e := &s.Endpoints[i]
		if _, left := stays[e.Identity()]; left {
			stays[e.Identity()] = !e.Terminating
		}
	}
	for c := range d.conns {
		if stays[c.endpoint.Identity()] {
			c.stopDeadline()
		} else {
			c.startDeadline()
		}
	}
}

// end lets the DrainTimeout begin for all.
func (d *departures) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.over = true
	for c := range d.conns {
		c.startDeadline()
	}
}
