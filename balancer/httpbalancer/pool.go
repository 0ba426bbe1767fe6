package httpbalancer

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/adapter"
	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/selection"
	"github.com/sidestep-lb/sidestep/health"
)

// A pool is what a Transport keeps for one target: a watch of its endpoints and
// the backends with their connections.
type pool struct {
	// Set at the start and read-only.
	transport *Transport
	target    discovery.Target
	endpoints *selection.Subscription
	balancer  *adapter.Balancer
	budget    *health.Budget
	hedge     *health.HedgeTimer // nil if there are no hedges
	warmer    *warmer            // nil if no connections are made in advance
	start     time.Time          // of the pool's time

	retired bool // it gets no requests any more; guarded by the Transport's mu

	users gate        // requests under way, and attempts in flight
	used  atomic.Bool // by a request since the last sweep

	departures departures // of backends that have requests in flight

	latest   atomic.Pointer[state] // what follow has done; nil before it did anything
	heard    chan struct{}         // closed with the first View, good or bad
	served   chan struct{}         // closed with the first Snapshot
	followed chan struct{}         // closed when follow has ended
	conns    sync.WaitGroup        // backendConns that are not closed, and what they have going on
}

// A state is a View that the balancer has been told of.
type state struct {
	discovery.View
	usable  int  // how many endpoints of the Snapshot may be used
	found   bool // there is, or was, such a Service
	proxied bool // its requests are the base transport's business, unless a Config.Target led here from another host
}

func newPool(t *Transport, target discovery.Target) *pool {
	p := &pool{
		transport: t,
		target:    target,
		endpoints: t.selector.Subscribe(target, ""), // the hosts file has been asked
		budget:    health.NewBudget(0),
		start:     time.Now(),
		heard:     make(chan struct{}),
		served:    make(chan struct{}),
		followed:  make(chan struct{}),
	}
	if percentile := t.config.Hedge.Percentile; percentile > 0 {
		p.hedge = health.NewHedgeTimer(percentile)
	}
	if t.config.WarmUp {
		p.warmer = &warmer{pool: p}
	}
	// The only error is that of an invalid Config, of which there are no pools.
	p.balancer, _ = adapter.New(t.config.Balancer, adapter.Hooks{
		Name:           target.String(),
		Adapter:        "http",
		Client:         t.config.Name,
		Logger:         t.config.Logger,
		Now:            p.now,
		Connect:        p.connect,
		FitnessChanged: func(b *adapter.Backend) { b.Conn().(*backendConn).member.Load().redial.start() },
	})
	go p.follow()
	return p
}

// connect is told of each new backend.
func (p *pool) connect(b *adapter.Backend) adapter.Conn {
	if c := p.departures.take(b); c != nil {
		return c
	}
	c := newBackendConn(p, b.Endpoint(), b)
	if p.warmer != nil {
		p.warmer.add(c)
	}
	return c
}

// now returns the nanoseconds since the start.
func (p *pool) now() int64 { return int64(time.Since(p.start)) }

// host returns the logical name of the Service, as in a URL.
func (p *pool) host() string {
	if p.target.Port.Number != 0 {
		return p.target.Host() + ":" + p.target.Port.String()
	}
	return p.target.Host()
}

// enter reports whether the pool takes a request, which has to leave users then.
func (p *pool) enter() bool {
	if !p.users.enter() {
		return false
	}
	if !p.used.Load() {
		p.used.Store(true)
	}
	return true
}

// follow tells the balancer of the endpoints until the subscription is closed.
func (p *pool) follow() {
	defer close(p.followed)
	last := &state{}
	for {
		view, err := p.endpoints.Next(context.Background())
		if err != nil {
			return
		}
		now := &state{View: view.View, usable: last.usable, found: last.found, proxied: last.proxied}
		if view.Changed {
			now.usable = len(view.Endpoints)
			now.proxied = view.ThroughClusterIP
			now.found = now.found || !errors.Is(view.Snapshot.Reason, discovery.ErrServiceNotFound)
			p.balancer.Update(view.Endpoints)
			p.departures.review(view.Snapshot)
		}
		first := p.latest.Swap(now) == nil
		if first {
			close(p.heard)
		}
		if last.Snapshot == nil && now.Snapshot != nil {
			close(p.served)
		}
		last = now
	}
}

// pick returns a backend for a request, which counts as in flight there, and
// waits for the first Snapshot if need be.
func (p *pool) pick(ctx context.Context, r adapter.Request) (adapter.Pick, error) {
	for {
		picked, err := p.balancer.Pick(r)
		switch {
		case err == nil:
			if picked.Backend().Conn().(*backendConn).users.enter() {
				p.users.enter() // cannot fail: the request itself is inside
				return picked, nil
			}
			picked.Undo() // it has left and drained since it was picked
		case !errors.Is(err, balancer.ErrEmpty):
			return adapter.Pick{}, err
		default:
			if err := p.await(ctx); err != nil {
				return adapter.Pick{}, err
			}
		}
	}
}

// reportUnreachable tells discovery if no backend can be reached.
func (p *pool) reportUnreachable() {
	for _, b := range p.balancer.Backends() {
		if b.Reachable() {
			return
		}
	}
	p.endpoints.Unreachable()
}

// await returns nil when there are endpoints, and otherwise why there are none.
func (p *pool) await(ctx context.Context) error {
	_, err := p.endpoints.First(ctx)
	if errors.Is(err, discovery.ErrClosed) {
		return errClosed
	}
	if err != nil {
		return err
	}
	select {
	case <-p.served: // follows the first Snapshot at once
	case <-p.followed:
		return errClosed
	}
	if now := p.latest.Load(); now.usable == 0 {
		return now.Snapshot.Unusable(p.target)
	}
	return nil
}

// hold reports whether the pool is open. If so, whoever waits for it waits for the
// caller, too, until it calls conns.Done. Others who add to conns are backends
// that are not closed, or have a hold already.
func (p *pool) hold() bool {
	p.transport.mu.Lock()
	defer p.transport.mu.Unlock()
	if p.transport.closed.Load() || p.retired {
		return false
	}
	p.conns.Add(1)
	return true
}

func (p *pool) closeIdleConnections() {
	for _, b := range p.balancer.Backends() {
		b.Conn().(*backendConn).closeIdle()
	}
}

// retire reports whether the pool has had no request since the last call and
// has none now. If so, it gets none any more. It is called with the Transport's
// mu held.
func (p *pool) retire() bool {
	p.retired = !p.used.Swap(false) && p.users.shut()
	return p.retired
}

// stop ends the watch and lets all backends drain. It is called once.
func (p *pool) stop() {
	p.endpoints.Close()
	<-p.followed
	p.departures.end()
	p.balancer.Close()
}

// wait returns when all backends have drained.
func (p *pool) wait() { p.conns.Wait() }
