package httpbalancer

import (
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sidestep-lb/sidestep/internal/tcp"
)

// A countingConn is what net/http takes for the network connection of a conn: with TLS it
// is the tls.Conn, so that what is counted here are bytes of requests and
// responses, and not those of a handshake or of the client's own close_notify.
// net/http is told that it speaks without TLS. The countingConn counts what is written, so
// that a request that failed can be known not to have been sent, and says when
// the connection is closed, whoever closes it.
type countingConn struct {
	net.Conn

	// Set at the start and read-only.
	owner    *backendConn
	raw      net.Conn             // below TLS and whatever else shows what it wraps; it may be Conn itself
	tls      *tls.ConnectionState // nil without TLS
	over     carrier              // what sends requests over it
	ask      func() bool          // whether the peer has closed it; nil if the kernel cannot be asked
	settings *settings            // of the server; nil for HTTP/1

	written atomic.Int64
	read    atomic.Int64
	closing atomic.Bool           // Close has been called
	cut     atomic.Bool           // the DrainTimeout has ended it
	ended   atomic.Pointer[error] // how reading ended; nil before that
	conn    atomic.Pointer[conn]  // that it is under, once that may be used

	stamped atomic.Bool  // heard is wanted
	heard   atomic.Int64 // when the latest bytes came, in nanoseconds of the pool's time

	closed bool // guarded by the owner's mu
}

func newWire(c net.Conn, owner *backendConn, state *tls.ConnectionState, over carrier) *countingConn {
	w := &countingConn{Conn: c, owner: owner, raw: innermost(c), tls: state, over: over}
	w.ask = tcp.PeerClosed(w.raw)
	if over.http2 {
		w.settings = &settings{seen: make(chan struct{}), over: make(chan struct{})}
		// TCP would wait for an acknowledgement for up to 15 minutes (go.dev/issue/39750).
		// HTTP/1 goes without: there, a server slows an upload down by reading nothing.
		// HTTP/2 pings would find out more, and are left to the user
		// (HTTP2Config.SendPingTimeout): servers may close connections for them, as
		// gRPC's do for more than one in five minutes.
		tcp.SetUserTimeout(w.raw)
	}
	return w
}

// innermost returns the connection below TLS, and below what a dial function of
// the user has put around it, as far as that can be asked.
func innermost(c net.Conn) net.Conn {
	for {
		outer, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return c
		}
		inner := outer.NetConn()
		if inner == nil {
			return c
		}
		c = inner
	}
}

func (w *countingConn) Write(p []byte) (int, error) {
	n, err := w.Conn.Write(p)
	w.written.Add(int64(n))
	if err != nil && w.settings != nil && (errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)) {
		w.lastWords()
	}
	return n, w.because(err)
}

// lastWordsTime is how long the end of a connection may wait for what the server has
// said before.
const lastWordsTime = 100 * time.Millisecond

// lastWords waits until everything that came over an HTTP/2 connection has been
// read, which a server has ended. Otherwise net/http would end all streams because of
// the write, and not see the GOAWAY that says which of them were not processed.
func (w *countingConn) lastWords() {
	timer := time.NewTimer(lastWordsTime)
	defer timer.Stop()
	select {
	case <-w.settings.over:
	case <-timer.C:
	}
}

// Read is called by one goroutine, that of net/http which reads the connection.
func (w *countingConn) Read(p []byte) (int, error) {
	if w.settings != nil {
		w.settings.processed()
		w.giveUp()
	}
	n, err := w.Conn.Read(p)
	w.read.Add(int64(n))
	if err != nil {
		end := err // so that err itself need not be allocated by each Read
		w.ended.CompareAndSwap(nil, &end)
	}
	if w.stamped.Load() {
		w.heard.Store(w.owner.pool.now())
	}
	if w.settings != nil {
		w.settings.came(p[:n], err)
	}
	return n, w.because(err)
}

// giveUp closes an HTTP/2 connection that nobody uses and that takes no more
// requests, as after GOAWAY. net/http tells nobody, and keeps it for as long as the
// server does.
func (w *countingConn) giveUp() {
	if c := w.conn.Load(); c != nil && c.useless() {
		c.closeUnused()
	}
}

// because returns the reason of an error, if that is on this side.
func (w *countingConn) because(err error) error {
	if err != nil && w.cut.Load() {
		return errCut
	}
	return err
}

// closeNotifyTime is how long a peer that reads nothing may delay the end of a
// connection with TLS.
const closeNotifyTime = 250 * time.Millisecond

// Close may be called with locks of net/http held, and more than once.
func (w *countingConn) Close() error {
	if w.closing.Swap(true) {
		return net.ErrClosed
	}
	if w.tls != nil {
		defer time.AfterFunc(closeNotifyTime, func() { w.raw.Close() }).Stop()
	}
	err := w.Conn.Close() // before there may be another in its place
	if w.settings != nil {
		w.settings.end(net.ErrClosed)
	}
	w.owner.forget(w)
	return err
}

// cutOff ends the connection because the DrainTimeout has passed. Whoever uses it
// learns why.
func (w *countingConn) cutOff() {
	w.cut.Store(true)
	w.raw.Close() // without a word: it is being given up
}

// CloseWrite is what net/http looks for in an upgraded connection.
func (w *countingConn) CloseWrite() error {
	if c, ok := w.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return net.ErrClosed
}

// hungUp reports whether the backend has closed the connection already, though
// nobody may have read that yet: a request that is sent now would be lost.
func (w *countingConn) hungUp() bool { return w.ask != nil && w.ask() }
