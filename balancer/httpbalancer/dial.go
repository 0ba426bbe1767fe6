package httpbalancer

import (
	"context"
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
func (l *lane) dial(ctx context.Context) {
	wanted := len(l.waiting)
	if l.single {
		wanted = min(wanted, 1)
	}
	for l.dials < wanted && l.owner.mayConnect() {
		l.start(ctx)
	}
	if l.dials < wanted {
		l.owner.makeRoom(l)
	}
}

// start makes a connection, whether anybody waits for it or not. The context
// is that of a request, for what tracers have put there; its end is not that of
// the connection. It is called with mu held.
func (l *lane) start(ctx context.Context) {
	l.dials++
	l.owner.conns++
	l.owner.pool.conns.Go(func() {
		c, err := l.connect(context.WithoutCancel(ctx))
		l.dialled(ctx, c, err)
	})
}

// dialled hands on what came of a dial.
func (l *lane) dialled(ctx context.Context, c *conn, err error) {
	l.owner.mu.Lock()
	l.dials--
	kept := err == nil && l.add(c)
	if err != nil {
		l.owner.conns--
		// Those who wait for one connection together have waited for this one.
		for more := true; more; {
			more = l.grant(grant{err: &dialError{err}}) && l.single
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
func (l *lane) add(c *conn) bool {
	l.single = c.http2
	if c.wire != nil {
		c.wire.conn = c
	}
	if c.wire != nil && c.wire.closed {
		// A request has to learn that, or it would have another made, which
		// might be closed at once, too.
		granted := l.grant(grant{conn: c})
		l.owner.remove(c)
		return granted
	}
	if !c.http2 {
		return l.keep(c)
	}
	if l.owner.closed || l.owner.leaving.Load() && len(l.waiting) == 0 {
		return false
	}
	l.shared = append(slices.Clip(l.shared), c)
	l.changes++
	for l.grant(grant{conn: c}) {
	}
	return true
}

// connect makes a connection to the backend.
func (l *lane) connect(ctx context.Context) (*conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(l.owner.lifetime(), cancel)()
	made := &call{conn: l.owner}
	scheme, address := l.key.address()
	client, err := l.owner.maker(l.key).NewClientConn(made.in(ctx), scheme, address)
	if err != nil {
		if made.wire != nil {
			made.wire.Close() // net/http has, as a rule
		}
		return nil, err
	}
	c := newConn(client, l, made.wire)
	if c.http2 || c.wire == nil {
		client.SetStateHook(l.changed(c))
	}
	return c, nil
}

// changed is told by net/http of each request that ends on an HTTP/2 connection,
// of more room, and of the end.
func (l *lane) changed(c *conn) func(*http.ClientConn) {
	return func(client *http.ClientConn) {
		switch {
		case client.Err() == nil:
			l.notify()
		case c.wire == nil: // which tells nobody when it is closed
			l.owner.lost(c)
		}
	}
}

type dialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// viaCall returns a dial function for an http.Transport that reaches the backend
// that the context names, whatever the address.
func viaCall(dial dialFunc, tracked bool) dialFunc {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		made := callFrom(ctx)
		c, err := made.conn.dial(ctx, dial, network)
		if err != nil || !tracked {
			return c, err // http.Transport wants to see the *tls.Conn
		}
		made.wire = newWire(c, made.conn)
		return made.wire, made.conn.track(made.wire)
	}
}
