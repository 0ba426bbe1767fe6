package httpbalancer

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"slices"
)

// errLeft is the error of a connection to a backend that has left and drained.
var errLeft = errors.New("the backend has left")

// A dialError says that no connection could be made.
type dialError struct{ err error }

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

// dial makes as many connections as those who wait need and the limit allows. A
// connection that nobody waits for any more when it is there is kept: the next
// request needs it. It is called with mu held.
func (l *connPool) dial(ctx context.Context) {
	wanted := l.wanted()
	for l.dials < wanted && l.owner.mayConnect() {
		l.start(ctx)
	}
	if l.dials < wanted {
		l.owner.makeRoom(l)
	}
}

// wanted returns how many connections those who wait need. It is called with mu
// held.
func (l *connPool) wanted() int {
	if !l.single {
		return len(l.waiting)
	}
	return (len(l.waiting) + l.share() - 1) / l.share()
}

// share returns how many of those who wait one connection is for. It is called
// with mu held.
func (l *connPool) share() int {
	switch {
	case !l.single:
		return 1
	case l.streams == 0: // which is to be found out
		return max(len(l.waiting), 1)
	default:
		return l.streams
	}
}

// start makes a connection, whether anybody waits for it or not. The context
// is that of a request, for what tracers have put there; its end is not that of
// the connection. It is called with mu held.
func (l *connPool) start(ctx context.Context) {
	l.dials++
	l.owner.conns++
	l.owner.pool.conns.Go(func() {
		c, err := l.connect(context.WithoutCancel(ctx))
		l.dialled(ctx, c, err)
	})
}

// dialled hands on what came of a dial.
func (l *connPool) dialled(ctx context.Context, c *conn, err error) {
	l.owner.refuses.Store(err != nil)
	l.owner.mu.Lock()
	l.dials--
	kept := err == nil && l.add(c)
	if err != nil {
		l.owner.conns--
		// Those who wait for one connection together have waited for this one.
		for range l.share() {
			if !l.deliverLocked(waitResult{err: &dialError{err}}) {
				break
			}
		}
	}
	l.dial(ctx)
	l.owner.dialAll() // there may be room for another
	l.owner.mu.Unlock()
	if err == nil && !kept {
		c.close()
	}
}

// add takes a new connection, and reports whether it did. It is called with mu
// held.
func (l *connPool) add(c *conn) bool {
	l.single, l.streams = c.http2, c.streams
	c.countingConn.conn.Store(c)
	if c.countingConn.closed {
		// A request has to learn that, or it would have another made, which
		// might be closed at once, too.
		result := l.deliverLocked(waitResult{conn: c})
		l.owner.remove(c)
		return result
	}
	if !c.http2 {
		return l.keep(c)
	}
	if l.owner.closed || l.owner.leaving.Load() && len(l.waiting) == 0 {
		return false
	}
	l.shared = append(slices.Clip(l.shared), c)
	l.changes++
	for l.deliverLocked(waitResult{conn: c}) {
	}
	return true
}

// connect makes a connection to the backend that is ready for requests: TLS has
// shaken hands, and of HTTP/2 the server's SETTINGS are known.
func (l *connPool) connect(ctx context.Context) (*conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(l.owner.lifetime(), cancel)()
	w, err := l.countingConn(ctx)
	if err != nil {
		return nil, err
	}
	client, err := w.over.NewClientConn(context.WithValue(ctx, wireInContext{}, w), "http", "pod:80")
	if err != nil {
		w.Close() // net/http has, usually
		return nil, err
	}
	c := newConn(client, l, w)
	if c.http2 {
		if err := c.settled(ctx, l.owner.pool.transport.transports.handshake); err != nil {
			client.Close()
			return nil, err
		}
		client.SetStateHook(l.changed) // which sends all who wait to look again, so not while it is no connection yet
	}
	return c, nil
}

// wire makes the network connection, which the backendConn knows from then on.
func (l *connPool) countingConn(ctx context.Context) (*countingConn, error) {
	m := &l.owner.pool.transport.transports
	var conn net.Conn
	var state *tls.ConnectionState
	var err error
	if l.key.host != "" {
		conn, state, err = l.dialTLS(ctx)
	} else {
		conn, err = l.owner.dial(ctx, m.dial)
	}
	if err != nil {
		return nil, err
	}
	over := m.carrierOf(l.owner.transportFor(l.key), state)
	if over.http2 && l.key.http1 {
		conn.Close()
		return nil, errNegotiatedHTTP2
	}
	w := newWire(conn, l.owner, state, over)
	return w, l.owner.track(w)
}

// changed is told by net/http of each request that ends on an HTTP/2 connection,
// of more room, and of the end.
func (l *connPool) changed(*http.ClientConn) { l.notify() }

type dialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

type wireInContext struct{}

// wireFrom is the dial function of all http.Transports: the connection is there.
func wireFrom(ctx context.Context, _, _ string) (net.Conn, error) {
	return ctx.Value(wireInContext{}).(*countingConn), nil
}
