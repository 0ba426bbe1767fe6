package dialbalancer

import (
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sidestep-lb/sidestep/balancer/adapter"
	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/health"
)

// A Conn is a connection to a pod. DialContext returns one for all that it balances.
type Conn struct {
	net.Conn // to the pod

	// Set at the start and read-only.
	pod  *podConns
	made time.Time

	surplus atomic.Bool  // its pod has too many
	removed atomic.Bool  // its pod has been removed
	cut     atomic.Bool  // this package has closed it
	heard   atomic.Bool  // a byte has come
	used    atomic.Int64 // when the last Read or Write ended, in nanoseconds since made

	mu      sync.Mutex
	pick    adapter.Pick   // guarded by mu
	outcome health.Outcome // of the connection; guarded by mu
	ended   bool           // pick is done; guarded by mu
}

// ConnOf returns the Conn that c is or that is below it, as below a *tls.Conn. It
// is false for a connection to an address that is no pod of the Dialer's target.
func ConnOf(c net.Conn) (*Conn, bool) {
	for {
		if found, ok := c.(*Conn); ok {
			return found, true
		}
		above, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return nil, false
		}
		c = above.NetConn()
	}
}

// NetConn returns the connection below, a *net.TCPConn unless Config.Dial makes
// others. It must not be closed.
func (c *Conn) NetConn() net.Conn { return c.Conn }

// Endpoint returns the pod at the other end, as it was known when it was dialed.
func (c *Conn) Endpoint() discovery.Endpoint { return c.pod.endpoint }

// Stale reports whether the connection had better be replaced: its pod has been
// removed, or has more connections than its share, or the Dialer has closed it. A pool
// asks before it hands out a connection.
func (c *Conn) Stale() bool { return c.removed.Load() || c.surplus.Load() || c.cut.Load() }

// Report tells what became of a request on this connection. It is for clients that
// know, as a Dialer sees only connections. A pod that fails more than the others is
// ejected for a time: it gets no new connections, see package health. Report
// successes, too, as failures are judged beside them.
func (c *Conn) Report(o health.Outcome) {
	pick := c.pod.dialer.balancer.Take(c.pod.backend)
	pick.Done(adapter.Result{Outcome: o})
}

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.used.Store(int64(time.Since(c.made)))
		if !c.heard.Load() {
			c.answered()
		}
	}
	if err != nil {
		err = c.broken(err)
	}
	return n, err
}

// idleTime is after how long without a Read or Write a connection is between two
// uses, not within one. pgxpool, and pgx for database/sql, ping a connection that has
// been idle for as long before they hand it out.
const idleTime = time.Second

// Write implements net.Conn. It fails with ErrRemoved, and sends nothing, where
// [CloseOnNextUse] says so.
func (c *Conn) Write(p []byte) (int, error) {
	if c.removed.Load() && c.pod.dialer.config.Removal == CloseOnNextUse && time.Since(c.lastUse()) >= idleTime {
		c.close()
	}
	n, err := c.Conn.Write(p)
	c.used.Store(int64(time.Since(c.made)))
	if err != nil {
		err = c.broken(err)
	}
	return n, err
}

// lastUse is when a Read or Write last ended.
func (c *Conn) lastUse() time.Time { return c.made.Add(time.Duration(c.used.Load())) }

// Close implements net.Conn.
func (c *Conn) Close() error {
	c.pod.forget(c)
	err := c.Conn.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ended {
		c.ended = true
		c.pick.Done(adapter.Result{Outcome: c.outcome})
	}
	return err
}

// close closes the connection under its user, who is told that the pod is removed.
func (c *Conn) close() {
	c.cut.Store(true)
	c.Close()
}

// SyscallConn implements syscall.Conn. It fails if the connection is Stale: pools
// that look at the socket before they reuse a connection discard it then.
func (c *Conn) SyscallConn() (syscall.RawConn, error) {
	if c.Stale() {
		return nil, errStale
	}
	if socket, ok := c.Conn.(syscall.Conn); ok {
		return socket.SyscallConn()
	}
	return noSocket{}, nil
}

// answered takes note of the first byte.
func (c *Conn) answered() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.heard.Swap(true) && !c.ended {
		c.pick.Answered(adapter.Result{Outcome: health.Success})
	}
}

// dropTime is within which a server that closes a connection on which it has sent
// nothing is not one that merely gives up an idle connection.
const dropTime = 5 * time.Second

// broken takes note of an error of a Read or Write, and returns what its user is told.
func (c *Conn) broken(err error) error {
	var netError net.Error
	switch {
	case c.cut.Load():
		return &net.OpError{Op: "use", Net: "tcp", Addr: c.RemoteAddr(), Err: errRemoved}
	case errors.Is(err, syscall.ETIMEDOUT), errors.Is(err, syscall.EHOSTUNREACH): // TCP has given up
		c.pod.backend.Observe(health.Unreachable)
	case c.heard.Load(), errors.Is(err, net.ErrClosed), errors.As(err, &netError) && netError.Timeout():
	case time.Since(c.made) < dropTime:
		c.mu.Lock()
		c.outcome = health.Failure
		c.mu.Unlock()
	}
	return err
}

// A tlsConn is a *tls.Conn of which pools can find out that it is stale.
type tlsConn struct {
	*tls.Conn
	below *Conn
}

// SyscallConn implements syscall.Conn. It fails if the connection is stale. It lets
// nobody look at the socket, where bytes may be waiting that are TLS's own.
func (c tlsConn) SyscallConn() (syscall.RawConn, error) {
	if c.below.Stale() {
		return nil, errStale
	}
	return noSocket{}, nil
}

// noSocket is a RawConn of which nobody learns anything.
type noSocket struct{}

func (noSocket) Control(func(fd uintptr)) error    { return errors.ErrUnsupported }
func (noSocket) Read(func(fd uintptr) bool) error  { return nil }
func (noSocket) Write(func(fd uintptr) bool) error { return errors.ErrUnsupported }
