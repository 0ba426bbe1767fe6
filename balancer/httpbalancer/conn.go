package httpbalancer

import (
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"
)

// A conn is a connection to a backend. HTTP/1 carries one request at a time,
// HTTP/2 as many as the server allows.
//
// No method of its ClientConn may be called with a backendConn's mu held: the
// ClientConn closes its connection with locks of its own held, and the countingConn wants mu.
type conn struct {
	// Set at the start and read-only.
	client       *http.ClientConn
	connPool     *connPool
	countingConn *countingConn
	http2        bool
	streams      int       // how many requests the server allows at a time, when the connection is new
	retire       time.Time // when it gets no new requests any more; zero if never

	users gate         // attempts that use it
	taken atomic.Bool  // by an attempt, once
	used  atomic.Bool  // by an attempt that has ended, once
	rest  atomic.Int64 // since when nobody uses it, if it is HTTP/2; in nanoseconds of the pool's time
	kept  atomic.Int64 // for how long the server leaves it open after a response, in nanoseconds, and one more; 0 if it has not said; see keepAlive
	lost  atomic.Bool  // its end has been held against the backend

	// Guarded by the backendConn's mu.
	idle time.Time // since when it waits in connPool.idle; zero if it does not come from there
	gone bool      // it is closed
}

func newConn(client *http.ClientConn, l *connPool, w *countingConn) *conn {
	c := &conn{client: client, connPool: l, countingConn: w, http2: w.over.http2}
	if age := l.owner.pool.transport.limits.age(); age > 0 {
		c.retire = time.Now().Add(age)
	}
	return c
}

// acquire reports whether the caller may send a request on the connection, which
// it has to release then. With wait, the request may have to wait in net/http for
// the end of another one.
func (c *conn) acquire(wait bool) bool {
	n := c.users.inside.Add(1)
	if n > 0 && c.takes(n, wait) {
		return true
	}
	c.users.leave()
	if n > 1 && c.http2 {
		c.connPool.notify() // who looked in the meantime has counted one too many
	}
	return false
}

// takes reports whether the connection takes the request of the nth of its present
// users.
func (c *conn) takes(n int64, wait bool) bool {
	switch {
	case c.http2 && n == 1 && c.used.Load() && c.countingConn.hungUp(): // in use, net/http is told by what it reads
		c.connPool.retract(c)
		return false
	case c.http2:
		return c.hasRoom(n, wait)
	case c.old(), c.closing(), c.used.Load() && c.countingConn.hungUp():
		return false
	default:
		return c.client.Reserve() == nil
	}
}

// hasRoom reports whether an HTTP/2 connection with n users, of which the caller is
// one, has room for its request. Those that net/http does not know of yet count as
// well, or a burst would queue on one connection though there may be others.
//
// To reserve the room in net/http is worse: if the server comes to allow for less
// than was reserved, all wait forever.
func (c *conn) hasRoom(n int64, wait bool) bool {
	known := int64(c.client.InFlight()) // before the other: what begins in between counts twice, and not never
	available := int64(c.client.Available())
	return available > 0 && (wait || available >= n-known)
}

// ended reports whether a connection takes no more requests.
func (c *conn) ended() bool {
	return c.client.Err() != nil || c.http2 && c.client.Available() == 0 && c.client.InFlight() == 0
}

// useless reports whether nobody uses an HTTP/2 connection and nobody can, as after
// GOAWAY.
func (c *conn) useless() bool {
	return c.users.inside.Load() == 0 && c.ended()
}

// release ends what acquire began. An HTTP/1 connection goes back to its connPool if
// it can be used again.
func (c *conn) release() {
	if !c.used.Load() {
		c.used.Store(true)
	}
	if c.http2 {
		c.releaseStream()
		return
	}
	c.users.leave()
	if c.client.Available() == 0 || c.old() || c.closing() || !c.connPool.put(c) {
		c.close()
	}
}

// releaseStream is release over HTTP/2.
func (c *conn) releaseStream() {
	c.rest.Store(c.connPool.owner.pool.now())
	last := c.users.inside.Add(-1) == 0
	switch {
	case c.old():
		c.connPool.drop(c)
	case last && (c.connPool.owner.leaving.Load() || c.useless()):
		c.closeUnused()
	default:
		c.connPool.notify()
	}
}

// closeUnused closes the connection if nobody uses it.
func (c *conn) closeUnused() {
	if c.users.shut() {
		c.close()
	}
}

// close closes a connection that nobody uses.
func (c *conn) close() {
	c.client.Close()
	c.connPool.owner.lost(c)
}

// old reports whether the connection has reached its maximum age.
func (c *conn) old() bool { return !c.retire.IsZero() && !time.Now().Before(c.retire) }

// sent returns how many bytes of requests have been written to the backend.
func (c *conn) sent() int64 { return c.countingConn.written.Load() }

// received returns how many bytes have come from the backend.
func (c *conn) received() int64 { return c.countingConn.read.Load() }

// roundTrip sends a request over the connection.
func (c *conn) roundTrip(req *http.Request) (*http.Response, error) {
	if !c.http2 && !c.used.Load() {
		req = askKeepAlive(req)
	}
	resp, err := c.client.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	resp.TLS = c.countingConn.tls
	if !c.http2 {
		c.keepAlive(resp.Header)
	}
	return resp, nil
}

// tell says to the caller's trace which connection its request got.
func (c *conn) tell(trace *httptrace.ClientTrace) {
	reused := c.taken.Load()
	if !reused {
		reused = c.taken.Swap(true)
	}
	if trace == nil || trace.GotConn == nil {
		return
	}
	info := httptrace.GotConnInfo{Conn: c.countingConn.Conn, Reused: reused}
	switch {
	case !reused:
	case c.http2:
		if info.WasIdle = c.users.inside.Load() == 1; info.WasIdle {
			info.IdleTime = time.Duration(c.connPool.owner.pool.now() - c.rest.Load())
		}
	default:
		c.connPool.owner.mu.Lock()
		idle := c.idle
		c.connPool.owner.mu.Unlock()
		if info.WasIdle = !idle.IsZero(); info.WasIdle {
			info.IdleTime = time.Since(idle)
		}
	}
	trace.GotConn(info)
}
