package dialbalancer

import (
	"context"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sidestep-lb/sidestep/balancer/adapter"
	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/selection"
	"github.com/sidestep-lb/sidestep/internal/tcp"
)

// A Dialer spreads the connections that it makes over the pods of one target. Make
// one for each target and use it for as long as its connections are open.
type Dialer struct {
	// Set at the start and read-only.
	config   Config // with its defaults
	selector *selection.Selector
	target   discovery.Target
	host     string          // of the target, as the user wrote it
	life     context.Context // ends with the Dialer
	end      context.CancelFunc

	starting  sync.Once // of what follows, with the first dial
	started   bool      // guarded by starting
	endpoints *selection.Subscription
	balancer  *adapter.Balancer
	latest    atomic.Pointer[discovery.Snapshot] // that the balancer has been told of
	served    chan struct{}                      // closed with the first one
	followed  chan struct{}                      // closed when follow has ended

	work   sync.WaitGroup // redials; added to with mu held
	unused chan struct{}  // closed when the Dialer is closed and has no connections

	mu        sync.Mutex
	closed    bool                   // guarded by mu, as are all below
	conns     map[*Conn]struct{}     // that are open
	leaving   map[*podConns]struct{} // pods that have been removed and have connections
	rebalance rebalance
}

// New returns a Dialer for a target such as "k8s:///redis.shop:redis", see
// [discovery.ParseTarget]. It asks nobody anything before its first use. An error
// says what is wrong with the target, or which field of the Config is impossible.
func New(target string, config Config) (*Dialer, error) {
	parsed, err := discovery.ParseTarget(target)
	if err != nil {
		return nil, err
	}
	if err := config.validate(); err != nil {
		return nil, err
	}
	d := &Dialer{
		config:   config.withDefaults(),
		selector: selection.New(config.Source, config.Selection, config.Logger),
		host:     parsed.Host(),
		served:   make(chan struct{}),
		followed: make(chan struct{}),
		unused:   make(chan struct{}),
		conns:    make(map[*Conn]struct{}),
		leaving:  make(map[*podConns]struct{}),
	}
	d.target = d.canonical(parsed)
	d.life, d.end = context.WithCancel(context.Background())
	return d, nil
}

// dialer connects to pods, which are near: one that does not accept within two
// seconds is better replaced by another one. One that is gone without a word is
// found out within 16 seconds.
var dialer = net.Dialer{
	Timeout:         2 * time.Second,
	KeepAliveConfig: tcp.KeepAlive,
	Control:         tcp.ControlUserTimeout,
}

// canonical returns a target with the namespace and domain that its source adds.
func (d *Dialer) canonical(target discovery.Target) discovery.Target {
	if s, ok := d.selector.Source(target.Scheme).(interface {
		Canonical(t discovery.Target) discovery.Target
	}); ok {
		return s.Canonical(target)
	}
	return target
}

// start begins to watch the target, once, and reports whether it does: it does not if
// the Dialer was closed before.
func (d *Dialer) start() bool {
	d.starting.Do(func() {
		d.started = true
		d.endpoints = d.selector.Subscribe(d.target, d.host)
		// The only error is that of a Config that New has refused.
		d.balancer, _ = adapter.New(d.config.Balancer, adapter.Hooks{
			Name:           d.target.String(),
			Adapter:        "dial",
			Client:         d.config.Name,
			Logger:         d.config.Logger,
			Connect:        d.connect,
			FitnessChanged: d.fitnessChanged,
			Published:      d.published,
		})
		go d.follow()
	})
	return d.started
}

// follow tells the balancer of the endpoints until the subscription is closed.
func (d *Dialer) follow() {
	defer close(d.followed)
	for {
		view, err := d.endpoints.Next(context.Background())
		if err != nil {
			return
		}
		if !view.Changed {
			continue
		}
		d.balancer.Update(view.Endpoints)
		d.review(view.Snapshot)
		if d.latest.Swap(view.Snapshot) == nil {
			close(d.served)
		}
	}
}

// await returns nil when there are endpoints, and otherwise why there are none. It
// waits for the first Snapshot no longer than ctx lets it.
func (d *Dialer) await(ctx context.Context) error {
	if _, err := d.endpoints.First(ctx); err != nil {
		return err
	}
	select {
	case <-d.served: // follows the first Snapshot at once
	case <-d.followed:
		return errClosed
	}
	if len(d.balancer.Backends()) == 0 {
		return d.latest.Load().Unusable(d.target)
	}
	return nil
}

// reportUnreachable tells discovery if no pod can be reached.
func (d *Dialer) reportUnreachable() {
	if !slices.ContainsFunc(d.balancer.Backends(), (*adapter.Backend).Reachable) {
		d.endpoints.Unreachable()
	}
}

// begin reports whether the Dialer is open. Its Close waits for the caller then, until
// that calls work.Done.
func (d *Dialer) begin() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.closed {
		d.work.Add(1)
	}
	return !d.closed
}

// Close ends the watch and closes all connections. Dials fail from then on, those
// that are under way among them, with an error that wraps discovery.ErrClosed. Close
// may be called more than once; it returns nil.
func (d *Dialer) Close() error {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	d.Shutdown(ended) //nolint:errcheck // it says that it did not wait
	return nil
}

// Shutdown ends the watch, and waits until the users of the connections have closed
// them. Dials fail from then on. When ctx ends before that, it closes the connections
// that are open and returns the error of ctx.
func (d *Dialer) Shutdown(ctx context.Context) error {
	d.mu.Lock()
	first := !d.closed
	d.closed = true
	if d.rebalance.timer != nil {
		d.rebalance.timer.Stop()
	}
	if first {
		d.checkUnusedLocked()
	}
	d.mu.Unlock()
	d.end()
	d.starting.Do(func() {}) // there is no start from now on
	if d.started {
		d.endpoints.Close()
		<-d.followed
		d.balancer.Close()
	}
	d.work.Wait()
	select {
	case <-d.unused:
		return nil
	default:
	}
	select {
	case <-d.unused:
		return nil
	case <-ctx.Done():
		d.CloseConns(func(discovery.Endpoint) bool { return true })
		return ctx.Err()
	}
}

// checkUnusedLocked tells those who wait in Shutdown.
func (d *Dialer) checkUnusedLocked() {
	if d.closed && len(d.conns) == 0 {
		close(d.unused)
	}
}

// CloseConns closes the connections to the pods for which f returns true, and returns
// how many there were. It is for clients that learn by themselves that a pod is of no
// use to them, such as a Redis that answers READONLY.
func (d *Dialer) CloseConns(f func(discovery.Endpoint) bool) int {
	closing := d.connsOf(func(p *podConns) bool { return f(p.endpoint) })
	for _, c := range closing {
		c.close()
	}
	return len(closing)
}

// connsOf returns the connections to the pods for which f returns true.
func (d *Dialer) connsOf(f func(p *podConns) bool) (found []*Conn) {
	d.mu.Lock()
	conns := slices.Collect(maps.Keys(d.conns))
	d.mu.Unlock()
	return slices.DeleteFunc(conns, func(c *Conn) bool { return !f(c.pod) })
}
