package httpbalancer

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
)

// errLeft is the error of a connection to a backend that has left and drained.
var errLeft = errors.New("the backend has left")

// A backendConn is a backend's own http.Transport, which connects to that
// backend whatever the URL says, and all the connections it made. It implements
// balancer.Conn.
type backendConn struct {
	// Set at the start and read-only.
	pool      *pool
	backend   *balancer.Backend
	transport *http.Transport
	address   string
	dialing   context.Context // ends when the backendConn is closed
	stopDials context.CancelFunc
	revival   revival
	prober    prober

	users   gate        // exchanges in flight
	leaving atomic.Bool // Drain has been called

	mu       sync.Mutex
	closed   bool                  // guarded by mu
	open     map[net.Conn]struct{} // guarded by mu
	deadline *time.Timer           // of draining; guarded by mu
}

func newBackendConn(p *pool, b *balancer.Backend) *backendConn {
	c := &backendConn{
		pool:      p,
		backend:   b,
		transport: p.transport.backends.Clone(),
		address:   b.Endpoint().Addr.String(),
		open:      make(map[net.Conn]struct{}),
	}
	c.dialing, c.stopDials = context.WithCancel(context.Background())
	c.revival.conn = c
	c.prober.conn, c.prober.probe = c, p.transport.config.Probe
	c.transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) { return c.dial(ctx, network) }
	if dialTLS := c.transport.DialTLSContext; dialTLS != nil {
		// Its connections are not tracked: http.Transport wants to see a *tls.Conn.
		c.transport.DialTLSContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return c.dialWith(ctx, dialTLS, network)
		}
	}
	p.conns.Add(1)
	c.prober.start()
	return c
}

// leave ends an exchange.
func (c *backendConn) leave() {
	c.users.leave()
	c.pool.users.leave()
	if c.leaving.Load() {
		c.closeUnused()
	}
}

// Drain implements balancer.Conn. Idle connections close at once, the others
// when the last exchange has ended, or when the DrainTimeout has passed.
func (c *backendConn) Drain() {
	c.revival.stop()
	c.prober.stop()
	c.mu.Lock()
	c.deadline = time.AfterFunc(c.pool.transport.config.DrainTimeout, c.close)
	c.mu.Unlock()
	c.leaving.Store(true)
	c.closeUnused()
}

// closeUnused closes the connections that no exchange needs any more.
func (c *backendConn) closeUnused() {
	c.transport.CloseIdleConnections()
	if c.users.shut() {
		c.close()
	}
}

// close closes all connections, used or not, and makes no new ones.
func (c *backendConn) close() {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	c.closed = true
	c.deadline.Stop()
	open := c.open
	c.open = nil
	c.mu.Unlock()

	c.stopDials()
	c.transport.CloseIdleConnections() // those that are not tracked, too
	for conn := range open {
		conn.Close() // it is being given up
	}
	c.pool.conns.Done()
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

// dial returns a tracked connection to the backend.
func (c *backendConn) dial(ctx context.Context, network string) (net.Conn, error) {
	conn, err := c.dialWith(ctx, c.pool.transport.backends.DialContext, network)
	if err != nil {
		return nil, err
	}
	return c.track(conn)
}

func (c *backendConn) dialWith(ctx context.Context, dial dialFunc, network string) (net.Conn, error) {
	if !c.begin() {
		return nil, errLeft
	}
	defer c.pool.conns.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.dialing, cancel)()
	return dial(ctx, network, c.address)
}

func (c *backendConn) track(conn net.Conn) (net.Conn, error) {
	var tracked net.Conn = &otherConn{conn, c}
	if tcp, ok := conn.(*net.TCPConn); ok {
		tracked = &tcpConn{tcp, c}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		conn.Close() // it has not been used
		return nil, errLeft
	}
	c.open[tracked] = struct{}{}
	return tracked, nil
}

func (c *backendConn) forget(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, conn)
}

// A tcpConn is a tracked connection that keeps the methods of *net.TCPConn,
// such as ReadFrom, which sends files without copying them.
type tcpConn struct {
	*net.TCPConn
	owner *backendConn
}

func (c *tcpConn) Close() error {
	c.owner.forget(c)
	return c.TCPConn.Close()
}

// An otherConn is any other tracked connection.
type otherConn struct {
	net.Conn
	owner *backendConn
}

func (c *otherConn) Close() error {
	c.owner.forget(c)
	return c.Conn.Close()
}
