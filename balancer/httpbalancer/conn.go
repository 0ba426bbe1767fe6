package httpbalancer

import (
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"
)

// A conn is a connection to a backend. HTTP/1 carries one request at a time,
// HTTP/2 as many as the server allows.
//
// No method of its ClientConn may be called with a backendConn's mu held: the
// ClientConn closes its wire with locks of its own held, and the wire wants mu.
type conn struct {
	// Set at the start and read-only.
	client *http.ClientConn
	lane   *lane
	wire   *wire // nil if the base's DialTLSContext made the connection
	http2  bool
	retire time.Time // when it gets no new requests any more; zero if never

	users gate        // exchanges that use it
	used  atomic.Bool // by an exchange, once
	lost  atomic.Bool // its end has been held against the backend

	// Guarded by the backendConn's mu.
	idle time.Time // since when it waits in lane.idle
	gone bool      // it is closed
}

// http2Streams is how many requests an HTTP/2 connection takes at least, for all
// net/http knows, before the server has said how many. It is how the two
// versions are told apart: HTTP/1 has room for one.
const http2Streams = 2

func newConn(client *http.ClientConn, l *lane, w *wire) *conn {
	c := &conn{client: client, lane: l, wire: w, http2: client.Available() >= http2Streams}
	if age := l.owner.pool.transport.limits.age(); age > 0 {
		c.retire = time.Now().Add(age)
	}
	return c
}

// acquire reports whether the caller may send a request on the connection, which
// it has to release then.
func (c *conn) acquire() bool {
	if !c.users.enter() {
		return false
	}
	// On a connection in use, net/http is told of its end by what it reads.
	if !c.http2 && c.old() {
		c.users.leave()
		return false
	}
	if alone := !c.http2 || c.users.inside.Load() == 1; alone && c.used.Load() && c.wire.hungUp() || !c.reserve() {
		c.users.leave()
		return false
	}
	return true
}

// reserve reports whether there is room for a request. On HTTP/2 more may take it
// than there is room for, and then wait in net/http. To make them reserve it
// there is worse: if the server's settings come later and allow for less than was
// reserved, all wait for ever.
func (c *conn) reserve() bool {
	if c.http2 {
		return c.client.Available() > 0
	}
	return c.client.Reserve() == nil
}

// release ends what acquire began. An HTTP/1 connection goes back to its lane if
// it can be used again.
func (c *conn) release() {
	if !c.used.Load() {
		c.used.Store(true)
	}
	c.users.leave()
	switch {
	case !c.http2 && (c.client.Available() == 0 || c.old() || !c.lane.put(c)):
		c.close()
	case c.http2 && (c.old() || c.lane.owner.leaving.Load()):
		c.lane.drop(c)
	}
}

// close closes a connection that nobody uses.
func (c *conn) close() {
	c.client.Close()
	c.lane.owner.lost(c)
}

// old reports whether the connection has reached its maximum age.
func (c *conn) old() bool { return !c.retire.IsZero() && !time.Now().Before(c.retire) }

// sent returns how many bytes have been written to the backend.
func (c *conn) sent() int64 {
	if c.wire == nil {
		return -1
	}
	return c.wire.written.Load()
}

// received returns how many bytes have come from the backend.
func (c *conn) received() int64 {
	if c.wire == nil {
		return -1
	}
	return c.wire.read.Load()
}

// tell says to the caller's trace which connection its request got.
func (c *conn) tell(trace *httptrace.ClientTrace) {
	if trace == nil || trace.GotConn == nil {
		return
	}
	c.lane.owner.mu.Lock()
	idle := c.idle
	c.lane.owner.mu.Unlock()
	info := httptrace.GotConnInfo{Reused: c.used.Load()}
	if !idle.IsZero() {
		info.WasIdle, info.IdleTime = true, time.Since(idle)
	}
	if c.wire != nil {
		info.Conn = c.wire
	} else {
		info.Conn = unknownConn{}
	}
	trace.GotConn(info)
}

// An unknownConn stands for a connection that only net/http knows.
type unknownConn struct{ net.Conn }

func (unknownConn) LocalAddr() net.Addr  { return &net.TCPAddr{} }
func (unknownConn) RemoteAddr() net.Addr { return &net.TCPAddr{} }
