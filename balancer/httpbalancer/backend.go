package httpbalancer

import (
	"context"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sidestep-lb/sidestep/balancer/adapter"
	"github.com/sidestep-lb/sidestep/discovery"
)

// A backendConn is all the connections to a backend. It implements
// adapter.Conn. Of a backend that nothing was sent to, it is little more than
// the fields below.
type backendConn struct {
	// Set at the start and read-only.
	pool     *pool
	endpoint *discovery.Endpoint // as it was at the start

	first  membership
	member atomic.Pointer[membership] // the latest; never nil

	users   gate                     // attempts in flight
	main    atomic.Pointer[connPool] // the first of connPools, usually the only one
	leaving atomic.Bool              // Drain has been called, and the endpoint has not returned
	refuses atomic.Bool              // the latest attempt to connect failed

	mu        sync.Mutex
	closed    bool                       // guarded by mu
	other     bool                       // the endpoint's other address is the one that answers; guarded by mu
	connPools []*connPool                // guarded by mu
	conns     int                        // that are open or being made; guarded by mu
	open      map[*countingConn]struct{} // guarded by mu
	expiry    *time.Timer                // closes idle connections; nil if there are none; guarded by mu
	deadline  *time.Timer                // of draining; nil if there is none; guarded by mu

	life context.Context // ends with close; nil until somebody asks; guarded by mu
	end  context.CancelFunc
}

// A membership is what a backendConn has for as long as the balancer knows its
// endpoint. An endpoint that leaves and returns in time has one after the other.
type membership struct {
	backend *adapter.Backend // nil if the balancer does not know it, see All
	redial  redial
	prober  *prober // nil if there are no probes
}

func newBackendConn(p *pool, e *discovery.Endpoint, b *adapter.Backend) *backendConn {
	c := &backendConn{pool: p, endpoint: e}
	p.conns.Add(1)
	c.join(&c.first, b)
	return c
}

// join begins a membership.
func (c *backendConn) join(m *membership, b *adapter.Backend) {
	m.backend = b
	m.redial.conn, m.redial.backend = c, b
	c.member.Store(m)
	if probe := c.pool.transport.config.Probe; probe != nil && b != nil {
		m.prober = &prober{conn: c, backend: b, probe: probe}
		m.prober.start()
	}
}

// connPool returns the connections for requests with this key.
func (c *backendConn) connPool(key poolKey) *connPool {
	if l := c.main.Load(); l != nil && l.key == key {
		return l
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.connPools {
		if l.key == key {
			return l
		}
	}
	l := &connPool{owner: c, key: key, single: c.pool.transport.transports.mayMultiplex(key, c.endpoint)}
	c.connPools = append(c.connPools, l)
	c.main.CompareAndSwap(nil, l)
	return l
}

// transportFor returns what makes the connections of a connPool.
func (c *backendConn) transportFor(key poolKey) *http.Transport {
	return c.pool.transport.transports.of(key, c.endpoint)
}

// leave ends an attempt.
func (c *backendConn) leave() {
	c.users.leave()
	c.pool.users.leave()
	if c.leaving.Load() {
		c.closeUnused()
	}
}

// closeUnused ends a backendConn that has left and has nothing in flight.
func (c *backendConn) closeUnused() {
	c.closeIf(func() bool { return c.leaving.Load() && c.users.shut() })
}

// closeIf closes all connections, used or not, and makes no new ones, if may, which
// is called with mu held, says so.
func (c *backendConn) closeIf(may func() bool) {
	c.mu.Lock()
	if c.closed || !may() {
		c.mu.Unlock()
		return
	}
	c.closed = true
	c.stopDeadlineLocked()
	if c.expiry != nil {
		c.expiry.Stop()
	}
	if c.end != nil {
		c.end()
	}
	var unused []*conn
	for _, l := range c.connPools {
		unused = append(unused, slices.DeleteFunc(slices.Clone(l.shared), func(c *conn) bool { return !c.users.shut() })...)
		unused = append(unused, l.idle...)
		l.shared, l.idle = nil, nil
		for l.deliverLocked(waitResult{err: errLeft}) {
		}
	}
	open := maps.Clone(c.open)
	c.mu.Unlock()

	for _, conn := range unused {
		delete(open, conn.countingConn)
		conn.close()
	}
	for w := range open {
		w.cutOff()
	}
	c.pool.departures.remove(c)
	c.pool.conns.Done()
}

// lifetime returns a context that ends with close.
func (c *backendConn) lifetime() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.life == nil {
		c.life, c.end = context.WithCancel(context.Background())
		if c.closed {
			c.end()
		}
	}
	return c.life
}

// begin reports whether the backendConn is not closed. If so, whoever waits for
// the pool waits for the caller, too, until it calls pool.conns.Done.
func (c *backendConn) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.pool.conns.Add(1)
	}
	return !c.closed
}

// dial connects to the backend, by its other address if it cannot be reached by
// the first: the client may have one family of addresses only.
func (c *backendConn) dial(ctx context.Context, dial dialFunc) (net.Conn, error) {
	first, second := c.endpoint.Addr, c.endpoint.AltAddr
	if !second.IsValid() {
		return dial(ctx, "tcp", first.String())
	}
	c.mu.Lock()
	swapped := c.other
	c.mu.Unlock()
	if swapped {
		first, second = second, first
	}
	conn, err := dial(ctx, "tcp", first.String())
	if err == nil || ctx.Err() != nil {
		return conn, err
	}
	conn, otherErr := dial(ctx, "tcp", second.String())
	if otherErr != nil {
		return nil, err
	}
	c.mu.Lock()
	c.other = !swapped
	c.mu.Unlock()
	return conn, nil
}

// track notes a new connection, or closes it.
func (c *backendConn) track(w *countingConn) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		w.raw.Close() // it has not been used
		w.closed = true
		return errLeft
	}
	if c.open == nil {
		c.open = make(map[*countingConn]struct{})
	}
	c.open[w] = struct{}{}
	return nil
}

// forget is told that a connection is being closed.
func (c *backendConn) forget(w *countingConn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, w)
	w.closed = true
	if conn := w.conn.Load(); conn != nil {
		c.remove(conn)
	}
}

// lost is told that a connection is of no use any more.
func (c *backendConn) lost(conn *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(conn)
}

// remove is called with mu held.
func (c *backendConn) remove(conn *conn) {
	if conn.gone {
		return
	}
	conn.gone = true
	c.conns--
	conn.connPool.remove(conn)
	c.dialAll() // there is room for another
}

// dialAll makes the connections that the limit allows for now. It is called with
// mu held.
func (c *backendConn) dialAll() {
	for _, l := range c.connPools {
		l.dial(context.Background())
	}
}
