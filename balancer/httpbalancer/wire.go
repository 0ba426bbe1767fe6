package httpbalancer

import (
	"context"
	"net"
	"sync/atomic"
)

// A wire is the network connection under a conn. It counts what is written, so
// that a request that failed can be known not to have been sent, and says when
// it is closed, whoever closes it.
type wire struct {
	net.Conn
	owner   *backendConn
	alive   func() bool // asks the kernel; nil if it cannot be asked
	written atomic.Int64
	read    atomic.Int64

	// Guarded by the owner's mu.
	closed bool
	conn   *conn // that it is under; nil at first
}

func newWire(c net.Conn, owner *backendConn) *wire {
	return &wire{Conn: c, owner: owner, alive: livenessOf(c)}
}

func (w *wire) Write(p []byte) (int, error) {
	n, err := w.Conn.Write(p)
	w.written.Add(int64(n))
	return n, err
}

func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	w.read.Add(int64(n))
	return n, err
}

// Close may be called with locks of net/http held.
func (w *wire) Close() error {
	err := w.Conn.Close() // before there may be another in its place
	w.owner.forget(w)
	return err
}

// CloseWrite is what net/http looks for in an upgraded connection.
func (w *wire) CloseWrite() error {
	if c, ok := w.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return net.ErrClosed
}

// hungUp reports whether the backend has closed the connection already, though
// nobody may have read that yet: a request that is sent now would be lost.
func (w *wire) hungUp() bool { return w != nil && w.alive != nil && !w.alive() }

// A call is the making of one connection. It travels in a context, through
// http.Transport, to the dial function.
type call struct {
	conn *backendConn
	wire *wire // what came of it; nil if the dial function made TLS itself
}

type callInContext struct{}

func (c *call) in(ctx context.Context) context.Context {
	return context.WithValue(ctx, callInContext{}, c)
}

func callFrom(ctx context.Context) *call {
	c, _ := ctx.Value(callInContext{}).(*call)
	return c
}
