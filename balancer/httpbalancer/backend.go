package httpbalancer

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/discovery"
)

// A backendConn is all the connections to a backend. It implements
// balancer.Conn. Of a backend that nothing was sent to, it is little more than
// the fields below.
type backendConn struct {
	// Set at the start and read-only.
	pool     *pool
	backend  *balancer.Backend   // nil if the balancer does not know it, see All
	endpoint *discovery.Endpoint // as it was at the start
	revival  revival
	prober   *prober // nil if there are no probes

	users   gate                 // exchanges in flight
	main    atomic.Pointer[lane] // the first of lanes, as a rule the only one
	leaving atomic.Bool          // Drain has been called
	spared  atomic.Int64         // until when the backend asked to be left in peace, see spare

	mu       sync.Mutex
	closed   bool               // guarded by mu
	other    bool               // the endpoint's other address is the one that answers; guarded by mu
	lanes    []*lane            // guarded by mu
	conns    int                // that are open or being made; guarded by mu
	open     map[*wire]struct{} // guarded by mu
	expiry   *time.Timer        // closes idle connections; nil if there are none; guarded by mu
	deadline *time.Timer        // of draining; guarded by mu

	life context.Context // ends with close; nil until somebody asks; guarded by mu
	end  context.CancelFunc
}

func newBackendConn(p *pool, e *discovery.Endpoint, b *balancer.Backend) *backendConn {
	c := &backendConn{pool: p, endpoint: e, backend: b}
	c.revival.conn = c
	p.conns.Add(1)
	if probe := p.transport.config.Probe; probe != nil && b != nil {
		c.prober = &prober{conn: c, probe: probe}
		c.prober.start()
	}
	return c
}

// lane returns the connections for requests with this key.
func (c *backendConn) lane(key laneKey) *lane {
	if l := c.main.Load(); l != nil && l.key == key {
		return l
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.lanes {
		if l.key == key {
			return l
		}
	}
	l := &lane{owner: c, key: key, single: c.pool.transport.makers.mayMultiplex(key, c.endpoint)}
	c.lanes = append(c.lanes, l)
	c.main.CompareAndSwap(nil, l)
	return l
}

// maker returns what makes the connections of a lane.
func (c *backendConn) maker(key laneKey) *http.Transport {
	return c.pool.transport.makers.of(key, c.endpoint)
}

// leave ends an exchange.
func (c *backendConn) leave() {
	c.users.leave()
	c.pool.users.leave()
	if c.leaving.Load() && c.users.shut() {
		c.close()
	}
}

// Drain implements balancer.Conn. Idle connections close at once, the others
// when their last exchange has ended, or when the DrainTimeout has passed.
func (c *backendConn) Drain() {
	c.revival.stop()
	if c.prober != nil {
		c.prober.stop()
	}
	c.mu.Lock()
	c.deadline = time.AfterFunc(c.pool.transport.config.DrainTimeout, c.close)
	c.mu.Unlock()
	c.leaving.Store(true)
	c.closeIdle()
	if c.users.shut() {
		c.close()
	}
}

// close closes all connections, used or not, and makes no new ones. Those in use
// that the base's DialTLSContext made are net/http's alone, and close when their
// exchange ends.
func (c *backendConn) close() {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	c.closed = true
	if c.deadline != nil {
		c.deadline.Stop()
	}
	if c.expiry != nil {
		c.expiry.Stop()
	}
	if c.end != nil {
		c.end()
	}
	var clients []*conn
	for _, l := range c.lanes {
		clients = append(clients, l.shared...)
		clients = append(clients, l.idle...)
		l.shared, l.idle = nil, nil
		for l.grant(grant{err: errLeft}) {
		}
	}
	open := c.open
	c.open = nil
	c.mu.Unlock()

	for _, client := range clients {
		client.close()
	}
	for w := range open {
		w.cutOff()
	}
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

// reach makes a connection that nobody uses, to see whether that works.
func (c *backendConn) reach(ctx context.Context) error {
	conn, err := c.dial(ctx, c.pool.transport.makers.dial, "tcp")
	if err == nil {
		conn.Close() // it has told what it was made for
	}
	return err
}

// dial connects to the backend, by its other address if it cannot be reached by
// the first: the client may have one family of addresses only.
func (c *backendConn) dial(ctx context.Context, dial dialFunc, network string) (net.Conn, error) {
	first, second := c.endpoint.Addr, c.endpoint.Other
	if !second.IsValid() {
		return dial(ctx, network, first.String())
	}
	c.mu.Lock()
	swapped := c.other
	c.mu.Unlock()
	if swapped {
		first, second = second, first
	}
	conn, err := dial(ctx, network, first.String())
	if err == nil || ctx.Err() != nil {
		return conn, err
	}
	conn, otherErr := dial(ctx, network, second.String())
	if otherErr != nil {
		return nil, err
	}
	c.mu.Lock()
	c.other = !swapped
	c.mu.Unlock()
	return conn, nil
}

// track notes a new connection, or closes it.
func (c *backendConn) track(w *wire) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		w.raw.Close() // it has not been used
		w.closed = true
		return errLeft
	}
	if c.open == nil {
		c.open = make(map[*wire]struct{})
	}
	c.open[w] = struct{}{}
	return nil
}

// forget is told that a connection is being closed.
func (c *backendConn) forget(w *wire) {
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
	conn.lane.remove(conn)
	c.dialAll() // there is room for another
}

// dialAll makes the connections that the limit allows for now. It is called with
// mu held.
func (c *backendConn) dialAll() {
	for _, l := range c.lanes {
		l.dial(context.Background())
	}
}
