package httpbalancer

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http/httptrace"
	"time"
)

// errNegotiatedHTTP2 is for a DialTLSContext that offers HTTP/2 to the server
// whatever the request.
var errNegotiatedHTTP2 = errors.New("DialTLSContext agreed on HTTP/2, and an upgrade needs HTTP/1")

// A handshakeTimeoutError is what http.Transport returns in its place.
type handshakeTimeoutError struct{}

func (handshakeTimeoutError) Error() string   { return "net/http: TLS handshake timeout" }
func (handshakeTimeoutError) Timeout() bool   { return true }
func (handshakeTimeoutError) Temporary() bool { return true }

// dialTLS connects to the backend and shakes hands, as http.Transport would. The
// state is nil if the user's DialTLSContext returns something other than a
// tls.Conn.
//
// That net/http does not do it itself has a reason: it wants to see the tls.Conn,
// so that whatever lies between it and the network sees encrypted bytes only.
func (l *connPool) dialTLS(ctx context.Context) (net.Conn, *tls.ConnectionState, error) {
	m := &l.owner.pool.transport.transports
	var shaking *tls.Conn
	if m.dialTLS != nil {
		c, err := l.owner.dial(ctx, m.dialTLS)
		if err != nil {
			return nil, nil, err
		}
		var ok bool
		if shaking, ok = c.(*tls.Conn); !ok {
			return c, nil, nil
		}
	} else {
		c, err := l.owner.dial(ctx, m.dial)
		if err != nil {
			return nil, nil, err
		}
		shaking = tls.Client(c, l.tlsConfig())
	}
	state, err := shake(ctx, shaking, m.handshake)
	if err != nil {
		return nil, nil, err
	}
	return shaking, state, nil
}

// tlsConfig returns that of one connection.
func (l *connPool) tlsConfig() *tls.Config {
	base := l.owner.transportFor(l.key).TLSClientConfig
	if base == nil {
		base = new(tls.Config)
	}
	config := base.Clone()
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(l.key.host) // it has a port
	}
	return config
}

// shake completes a handshake, or closes the connection.
func shake(ctx context.Context, c *tls.Conn, limit time.Duration) (*tls.ConnectionState, error) {
	trace := httptrace.ContextClientTrace(ctx)
	if trace != nil && trace.TLSHandshakeStart != nil {
		trace.TLSHandshakeStart()
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, handshakeTimeoutError{})
	defer cancel()
	err := c.HandshakeContext(ctx)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		c.NetConn().Close()
	}
	state := c.ConnectionState()
	if trace != nil && trace.TLSHandshakeDone != nil {
		trace.TLSHandshakeDone(state, err)
	}
	if err != nil {
		return nil, err
	}
	return &state, nil
}
