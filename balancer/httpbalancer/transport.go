package httpbalancer

import (
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/hosts"
	"github.com/sidestep-lb/sidestep/discovery/selection"
)

// idleTimeout is how long the watch of a Service and the connections to its
// pods outlive the last request, at least; at most it is twice that.
const idleTimeout = 15 * time.Minute

// errClosed is what requests get after Close.
var errClosed = fmt.Errorf("httpbalancer: transport %w", discovery.ErrClosed)

// A Transport is an http.RoundTripper that balances the requests to Services
// over their pods. It should be made once and used by all, like an
// http.Transport, for it keeps connections.
type Transport struct {
	// Set at the start and read-only.
	config     Config // with its defaults
	limits     limits
	transports transports
	invalid    error // what is wrong with it
	askFirst   bool  // find out whether a name that may be any host's is a Service before it is watched
	base       *http.Transport
	selector   *selection.Selector
	hosts      hosts.File    // that of the selector
	domain     func() string // of the cluster
	namespace  func() string // of the client; empty where nothing tells it
	lookup     lookupFunc
	names      *names
	probes     chan struct{} // holds as many as run

	// pools finds the pool of a target. The map never changes: it is copied and
	// replaced with mu held. Several targets may lead to one pool.
	pools atomic.Pointer[map[discovery.Target]*pool]

	closing sync.Once
	drained chan struct{} // closed at the end of Close
	closed  atomic.Bool   // set with mu held
	mu      sync.Mutex
	sweep   *time.Timer    // closes idle pools, while there are any; guarded by mu
	sweeps  sync.WaitGroup // sweeps that are due or running; added to with mu held
}

// NewTransport returns a Transport. It does no I/O. The error names the field of
// config that is impossible, see [Config.Validate].
func NewTransport(config Config) (*Transport, error) {
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("httpbalancer config: %w", err)
	}
	return newTransport(config, lookupService), nil
}

// New is [NewTransport] for a config that is known to be possible, such as the zero
// value, so that it can be part of an expression:
//
//	client := &http.Client{Transport: httpbalancer.New(httpbalancer.Config{})}
//
// If config is impossible after all, each request to a Service fails with the error
// of NewTransport.
func New(config Config) *Transport { return newTransport(config, lookupService) }

func invalid(config Config) error {
	if err := config.Validate(); err != nil {
		return fmt.Errorf("httpbalancer config: %w", err)
	}
	return nil
}

func newTransport(config Config, lookup lookupFunc) *Transport {
	t := &Transport{config: config, invalid: invalid(config), base: config.Base, lookup: lookup, drained: make(chan struct{}), askFirst: config.Source == nil}
	t.names = newNames(t.ask)
	t.selector = selection.New(config.Source, config.Selection, config.Logger)
	t.hosts = t.selector.Hosts()
	t.domain = sync.OnceValue(func() string { return ownDomain(t.selector.Source(discovery.SchemeKubernetes)) })
	t.namespace = sync.OnceValue(func() string {
		return t.canonical(discovery.Target{Scheme: discovery.SchemeKubernetes, Service: "any"}).Namespace
	})
	if t.config.DrainTimeout == 0 {
		t.config.DrainTimeout = defaultDrainTimeout
	}
	t.config.Probe = config.Probe.withDefaults()
	t.probes = make(chan struct{}, maxProbes)
	if t.base == nil {
		t.base = defaultBase()
	}
	t.limits, t.transports = limitsOf(&config, t.base), newTransports(&config, t.base)
	if t.config.Retry.MaxAttempts == 0 {
		t.config.Retry.MaxAttempts = defaultMaxAttempts
	}
	t.pools.Store(&map[discovery.Target]*pool{})
	return t
}

// RoundTrip implements http.RoundTripper. A request to a Service waits for the
// Service's first endpoints no longer than its context lets it. Errors of
// discovery (see discovery.ErrNoEndpoints and the ones beside it), of the
// connection and of the context can all be told with errors.Is and errors.As, and
// where the request went as a *balancer.CallError.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	p, err := t.enter(req)
	switch {
	case err != nil:
		closeBody(req)
		return nil, &requestError{err: err}
	case p == nil:
		resp, err := t.base.RoundTrip(req)
		if err != nil {
			err = t.explainBase(req, err)
		}
		return resp, err
	default:
		resp, err := p.roundTrip(req)
		return resp, p.named(err)
	}
}

// enter returns the pool that serves the request, with the request counted
// there, or none if its host is no Service.
func (t *Transport) enter(req *http.Request) (*pool, error) {
	if t.closed.Load() {
		return nil, errClosed
	}
	host, ok := t.host(req)
	if !ok {
		return nil, nil
	}
	if t.invalid != nil {
		return nil, t.invalid
	}
	for {
		if p := (*t.pools.Load())[host.target]; p != nil && p.enter() {
			if host.ambiguous && !p.isService(req.Context(), host) {
				p.users.leave()
				return nil, nil
			}
			return p, nil
		}
		// The in-cluster source does not watch every example.com.
		if host.ambiguous && t.asksFirst(host) && !t.names.isService(req.Context(), host) {
			return nil, nil
		}
		if err := t.open(host.target); err != nil {
			return nil, err
		}
	}
}

func (t *Transport) host(req *http.Request) (hostName, bool) {
	switch {
	case req.URL == nil: // for the base to complain about
		return hostName{}, false
	case t.config.Target != nil:
		target, ok := t.config.Target(req.URL)
		return hostName{target: target}, ok
	}
	host, ok := readHost(req.URL)
	// The pod's own hosts file goes first, and a name that is not this cluster's is
	// none of its Services: not quiz.kiada.svc.clusterset.local (KEP-1645), for one.
	if !ok || t.inHosts(host.text) || host.target.Domain != "" && host.target.Domain != t.domain() {
		return hostName{}, false
	}
	return host, true
}

// open sees to it that there is a pool for target.
func (t *Transport) open(target discovery.Target) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed.Load() {
		return errClosed
	}
	pools := maps.Clone(*t.pools.Load())
	if pools[target] != nil {
		return nil // somebody was faster
	}
	shared := t.canonical(target)
	if pools[shared] == nil {
		pools[shared] = newPool(t, shared)
	}
	pools[target] = pools[shared]
	t.pools.Store(&pools)
	if t.sweep == nil {
		t.sweeps.Add(1)
		t.sweep = time.AfterFunc(idleTimeout, t.closeIdlePools)
	}
	return nil
}

// closeIdlePools closes the pools that no request has used since it ran last.
func (t *Transport) closeIdlePools() {
	defer t.sweeps.Done()
	for _, p := range t.removeIdlePools() {
		p.stop()
		p.wait()
	}
}

func (t *Transport) removeIdlePools() []*pool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed.Load() {
		return nil
	}
	pools := maps.Clone(*t.pools.Load())
	var idle []*pool
	for p := range distinct(pools) {
		if p.retire() {
			idle = append(idle, p)
			maps.DeleteFunc(pools, func(_ discovery.Target, o *pool) bool { return o == p })
		}
	}
	t.pools.Store(&pools)
	t.sweep = nil
	if len(pools) > 0 {
		t.sweeps.Add(1)
		t.sweep = time.AfterFunc(idleTimeout, t.closeIdlePools)
	}
	return idle
}

// CloseIdleConnections closes the connections to all hosts that no request uses
// now. http.Client's method of that name calls it.
func (t *Transport) CloseIdleConnections() {
	t.base.CloseIdleConnections()
	for p := range distinct(*t.pools.Load()) {
		p.closeIdleConnections()
	}
}

// logger returns the one of the Config.
func (t *Transport) logger() *slog.Logger { return cmp.Or(t.config.Logger, slog.Default()) }

// distinct returns each pool once.
func distinct(pools map[discovery.Target]*pool) map[*pool]struct{} {
	set := make(map[*pool]struct{}, len(pools))
	for _, p := range pools {
		set[p] = struct{}{}
	}
	return set
}
