package dialbalancer

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/adapter"
	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/health"
)

const (
	// maxAttempts is how many pods a call tries.
	maxAttempts = 3
	// patience is how long a pod may leave a connection unaccepted without blame,
	// when it is the caller's deadline that ends the attempt.
	patience = 250 * time.Millisecond
)

// DialContext connects to a pod, as the address says: see the package comment. It is
// a dial function as a net.Dialer has one, and so are its errors: a *net.OpError,
// which wraps a *balancer.CallError if pods could not be reached, and else what discovery says,
// such as discovery.ErrNoEndpoints. It waits for the first endpoints no longer than
// ctx lets it. The networks tcp, tcp4 and tcp6 are balanced.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if network != "tcp" && network != "tcp4" && network != "tcp6" {
		return d.config.Dial(ctx, network, address)
	}
	if !d.start() || d.life.Err() != nil {
		return nil, dialError(network, address, errClosed)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(d.life, cancel)()

	pod, balanced := d.read(ctx, address)
	var conn net.Conn
	var err error
	switch {
	case pod != nil:
		conn, err = d.attempt(ctx, network, d.balancer.Take(pod), "")
		if err != nil {
			err = d.callError(pod, 1, err)
		}
	case balanced:
		conn, err = d.balance(ctx, network)
	default:
		return d.config.Dial(ctx, network, address)
	}
	if err != nil {
		if d.life.Err() != nil {
			err = errClosed
		}
		return nil, dialError(network, address, err)
	}
	return conn, nil
}

// Dial is DialContext without a context, for clients that want no other, such as
// nats.go.
func (d *Dialer) Dial(network, address string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, address)
}

// TLS returns a dial function like DialContext that speaks TLS. It is for clients that
// leave TLS to their dial function, such as go-redis. The config's ServerName is the
// host of the address by default, which is the name of the Service and never a pod's
// address. A pod whose handshake fails has failed, see [Conn.Report].
func (d *Dialer) TLS(config *tls.Config) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := d.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		own := config.Clone()
		if own == nil {
			own = new(tls.Config)
		}
		if host, _, err := net.SplitHostPort(address); err == nil && own.ServerName == "" {
			own.ServerName = host
		}
		secure := tls.Client(conn, own)
		if err := secure.HandshakeContext(ctx); err != nil {
			if balanced, ok := ConnOf(conn); ok && ctx.Err() == nil {
				balanced.Report(health.Failure)
			}
			conn.Close()
			return nil, dialError(network, address, err)
		}
		if balanced, ok := ConnOf(conn); ok {
			return tlsConn{secure, balanced}, nil
		}
		return secure, nil
	}
}

// read says what an address is: that of a pod, the Service, or neither.
func (d *Dialer) read(ctx context.Context, address string) (pod *adapter.Backend, balanced bool) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, false
	}
	if addr, err := netip.ParseAddrPort(address); err == nil {
		if d.await(ctx) != nil {
			return nil, false // nothing is known of any address
		}
		addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
		for _, b := range d.balancer.Backends() {
			if e := b.Endpoint(); e.Addr == addr || e.AltAddr == addr {
				return b, false
			}
		}
		return nil, d.latest.Load().ClusterIP == addr
	}
	if d.target.Scheme == discovery.SchemeStatic {
		return nil, true
	}
	named, err := discovery.ParseTarget(d.target.Scheme + ":///" + strings.ToLower(host))
	if err != nil {
		return nil, false
	}
	if named = d.canonical(named); named.Domain == "" || d.target.Domain == "" {
		named.Domain = d.target.Domain
	}
	return nil, strings.TrimSuffix(named.Host(), ".") == strings.TrimSuffix(d.target.Host(), ".")
}

// balance connects to one of the pods.
func (d *Dialer) balance(ctx context.Context, network string) (net.Conn, error) {
	request := adapter.Request{Stream: true} // a connection that is silent is no request that hangs
	request.Key, request.HasKey = adapter.KeyFrom(ctx)
	var failed error
	var reason balancer.Reason
	for attempts := 1; ; attempts++ {
		picked, err := d.pick(ctx, request)
		if err != nil {
			return nil, cmp.Or(failed, err) // if one has failed, there is no other
		}
		backend := picked.Backend()
		if failed != nil && !backend.Fit() { // one that is not fit is tried only if there is no other
			picked.Undo()
			return nil, failed
		}
		conn, err := d.attempt(ctx, network, picked, reason)
		if err == nil {
			return conn, nil
		}
		failed = d.callError(backend, attempts, err)
		if attempts == maxAttempts || ctx.Err() != nil {
			return nil, failed
		}
		request.Tried, reason = append(request.Tried, backend), balancer.NotSent
		d.balancer.Retried(reason)
	}
}

// callError returns an error that says which pod was tried last.
func (d *Dialer) callError(pod *adapter.Backend, attempts int, err error) error {
	return &balancer.CallError{Target: d.target.String(), Endpoint: pod.Endpoint(), Attempts: attempts, Err: cause(err)}
}

// pick returns a backend for a connection, which counts as open there, and waits for
// the first Snapshot if need be.
func (d *Dialer) pick(ctx context.Context, r adapter.Request) (adapter.Pick, error) {
	for {
		picked, err := d.balancer.Pick(r)
		if !errors.Is(err, balancer.ErrEmpty) {
			return picked, err
		}
		if err := d.await(ctx); err != nil {
			return adapter.Pick{}, err
		}
	}
}

// attempt connects to the backend that was picked.
func (d *Dialer) attempt(ctx context.Context, network string, picked adapter.Pick, reason balancer.Reason) (_ net.Conn, err error) {
	backend := picked.Backend()
	trace := adapter.TraceFrom(ctx)
	number := adapter.BeginAttempt(trace, backend, reason)
	defer func() { adapter.EndAttempt(trace, number, 0, err) }()
	began := time.Now()
	raw, err := backend.Conn().(*podConns).dial(ctx, network)
	if err != nil {
		outcome := health.Unreachable
		var noFamily *net.AddrError
		if errors.Is(ctx.Err(), context.Canceled) || ctx.Err() != nil && time.Since(began) < patience || errors.As(err, &noFamily) {
			outcome = health.Neutral
		}
		picked.Done(adapter.Result{Outcome: outcome})
		if outcome == health.Unreachable {
			d.endpoints.Refresh()
			d.reportUnreachable()
		}
		return nil, err
	}
	picked.Sent()
	c := &Conn{Conn: raw, pod: backend.Conn().(*podConns), made: time.Now(), pick: picked}
	if err := c.pod.keep(c); err != nil {
		raw.Close()
		picked.Undo()
		return nil, err
	}
	backend.Observe(health.Success)
	return c, nil
}
