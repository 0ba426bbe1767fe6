package dialbalancer

import (
	"context"
	"math/rand/v2"
	"net"
	"time"

	"github.com/sidestep-lb/sidestep/balancer/adapter"
	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/health"
)

// A podConns is the connections to one pod. It implements adapter.Conn. A pod that
// can be reached has no goroutine and no timer.
type podConns struct {
	// Set at the start and read-only.
	dialer   *Dialer
	endpoint discovery.Endpoint
	backend  *adapter.Backend

	// Guarded by the Dialer's mu.
	open     int // connections
	removed  bool
	deadline *time.Timer // of the DrainTimeout; nil if that has not begun
	redial   *time.Timer // nil if none is due or running
}

// connect is told of each new backend. The Balancer's mutex is held.
func (d *Dialer) connect(b *adapter.Backend) adapter.Conn {
	p := &podConns{dialer: d, endpoint: *b.Endpoint(), backend: b}
	for _, c := range d.connsOf(p.isSame) { // it was not ready, say, and is again
		c.surplus.Store(true) // it does not count here, so it had better be replaced
		c.removed.Store(false)
	}
	return p
}

// isSame reports whether o is the same pod, perhaps as it was before it was removed.
func (p *podConns) isSame(o *podConns) bool { return p.endpoint.Identity() == o.endpoint.Identity() }

// Drain implements adapter.Conn: the pod has been removed. Whether the DrainTimeout
// applies is for review to say.
func (p *podConns) Drain() {
	d := p.dialer
	d.mu.Lock()
	p.removed = true
	if p.redial != nil {
		p.redial.Stop()
	}
	if p.open > 0 {
		d.leaving[p] = struct{}{}
	}
	closed := d.closed
	d.mu.Unlock()
	if closed {
		return // the pod is still there: Shutdown decides about its connections
	}
	for _, c := range d.connsOf(p.isSame) {
		c.removed.Store(true)
		if d.config.Removal == CloseAtOnce {
			c.close()
		}
	}
}

// review looks at what a Snapshot says of the pods that have been removed and have
// connections: the DrainTimeout applies to one that terminates, and to one of which
// nothing is said. One that is not ready, or is other clients', goes on.
func (d *Dialer) review(s *discovery.Snapshot) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.leaving) == 0 {
		return
	}
	stays := make(map[discovery.Identity]bool, len(s.Endpoints))
	for i := range s.Endpoints {
		stays[s.Endpoints[i].Identity()] = !s.Endpoints[i].Terminating
	}
	for p := range d.leaving {
		switch {
		case stays[p.endpoint.Identity()]:
			p.stopDeadlineLocked()
		case p.deadline == nil:
			p.deadline = time.AfterFunc(d.config.DrainTimeout, func() {
				for _, c := range d.connsOf(func(o *podConns) bool { return o == p }) {
					c.close()
				}
			})
		}
	}
}

func (p *podConns) stopDeadlineLocked() {
	if p.deadline != nil {
		p.deadline.Stop()
		p.deadline = nil
	}
}

// keep adds a connection, or returns why there is to be none.
func (p *podConns) keep(c *Conn) error {
	d := p.dialer
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.closed:
		return errClosed
	case p.removed: // while it was being made
		return errRemoved
	}
	d.conns[c] = struct{}{}
	p.open++
	return nil
}

// forget removes a connection.
func (p *podConns) forget(c *Conn) {
	d := p.dialer
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.conns[c]; !ok {
		return
	}
	delete(d.conns, c)
	if p.open--; p.open == 0 {
		p.stopDeadlineLocked()
		delete(d.leaving, p)
	}
	d.checkUnusedLocked()
}

// dial connects to the pod, by its other address if it cannot be reached by the
// first: the client may have one family of addresses only.
func (p *podConns) dial(ctx context.Context, network string) (net.Conn, error) {
	conn, err := p.dialer.config.Dial(ctx, network, p.endpoint.Addr.String())
	if err == nil || ctx.Err() != nil || !p.endpoint.AltAddr.IsValid() {
		return conn, err
	}
	if conn, errOther := p.dialer.config.Dial(ctx, network, p.endpoint.AltAddr.String()); errOther == nil {
		return conn, nil
	}
	return nil, err
}

// fitnessChanged is told that a backend may have become unreachable. The Balancer's
// mutex is held.
func (d *Dialer) fitnessChanged(b *adapter.Backend) {
	p := b.Conn().(*podConns)
	d.mu.Lock()
	defer d.mu.Unlock()
	if p.redial == nil {
		p.redialLocked(0)
	}
}

// redialLocked sees to it that a pod that cannot be reached is dialed until it can, so
// that no caller has to find out. Meanwhile there is a timer and no goroutine. The
// connection is closed at once: a server that waits for a greeting would time out.
func (p *podConns) redialLocked(attempt int) {
	p.redial = nil
	if p.removed || p.dialer.closed || p.backend.Reachable() {
		return
	}
	p.redial = time.AfterFunc(health.RetryDelay(attempt, rand.Uint64), func() {
		if !p.dialer.begin() {
			return
		}
		defer p.dialer.work.Done()
		if conn, err := p.dial(p.dialer.life, "tcp"); err == nil {
			conn.Close()
			p.backend.Observe(health.Success)
		} else {
			p.dialer.reportUnreachable()
		}
		p.dialer.mu.Lock()
		defer p.dialer.mu.Unlock()
		p.redialLocked(attempt + 1)
	})
}
