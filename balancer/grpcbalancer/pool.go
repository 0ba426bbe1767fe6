package grpcbalancer

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/attributes"
	gbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	grpcresolver "google.golang.org/grpc/resolver"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/adapter"
	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/resolver"
)

// errNoAddresses is the reason that a resolver which gives none is lent.
var errNoAddresses = errors.New("the name resolver found no addresses")

// A pool is the connections of a channel under one config, and the picker.
//
// It tells gRPC of a change in two ways. The Balancer announces each rotation,
// which covers all that picks depend on, after at most a few milliseconds and
// for many changes at once. What it does not see is the step from "connecting"
// to "all have failed", and settle is for that.
type pool struct {
	// Set at the start and read-only.
	cc           gbalancer.ClientConn
	target       string
	balancer     *adapter.Balancer
	header       string        // of the metadata, where the key of a request is; or empty
	reports      bool          // whether the policy wants load reports
	reportPeriod time.Duration // in which servers are asked for them; or 0
	maxConns     int           // of a backend
	streams      int64         // on each of them, before there is another one
	channel      uint64        // the id of the channel whose DialOptions the config is from, or 0
	calls        sync.Pool     // of *call

	// Used in calls of update alone.
	addresses addresses
	endpoints []discovery.Endpoint // of the last update
	others    foreign              // those of them that another resolver made

	// The attributes of the last state, to report to its source.
	source atomic.Pointer[attributes.Attributes]

	pushing sync.Mutex         // held while gRPC is told, so that it hears things in order; taken before mu
	told    connectivity.State // guarded by pushing

	mu      sync.Mutex                     // taken after the Balancer's
	closed  bool                           // guarded by mu
	conns   [connectivity.Shutdown + 1]int // connections by state, save Idle and Shutdown; guarded by mu
	dials   dials                          // guarded by mu
	lastErr error                          // of a connection; guarded by mu
	reason  error                          // why there are no endpoints; guarded by mu
	chosen  int                            // calls that wait for one certain backend, see all.go; guarded by mu
}

func newPool(cc gbalancer.ClientConn, target string, config *lbConfig, logger *slog.Logger) (*pool, error) {
	p := &pool{
		cc:           cc,
		target:       target,
		header:       strings.ToLower(config.HashKey.Header),
		told:         connectivity.Idle,
		reports:      config.Policy == balancer.Weighted,
		reportPeriod: time.Duration(config.ReportPeriod),
		maxConns:     max(config.MaxConnections, 1),
		streams:      int64(config.StreamsPerConnection),
		channel:      config.Channel,
	}
	if p.streams == 0 {
		p.streams = defaultStreams
	}
	p.dials = dials{pool: p, limit: maxDials}
	p.calls.New = p.newCall
	complete := config.Config
	var err error
	p.balancer, err = adapter.New(complete, adapter.Hooks{
		Name: target, Adapter: "grpc", Client: config.Name, Logger: logger,
		ConnectFirst: true, Connect: p.connect, Published: p.push,
	})
	return p, err
}

// update makes the pool hold the endpoints of s.
func (p *pool) update(s grpcresolver.State) error {
	p.endpoints = endpointsOf(s, p.endpoints, &p.others)
	p.addresses = addresses{of: s.Endpoints, others: &p.others}
	p.source.Store(s.Attributes)
	if len(p.endpoints) == 0 {
		reason := resolver.Unusable(s)
		if reason == nil {
			reason = fmt.Errorf("%s: %w", p.target, errNoAddresses)
		}
		p.mu.Lock()
		p.reason = reason
		p.mu.Unlock()
	}
	p.balancer.Update(p.endpoints)
	p.addresses = addresses{} // to be kept for no longer: it is all that the resolver said
	p.startDials()
	p.settle()
	if len(p.endpoints) == 0 {
		return gbalancer.ErrBadResolverState
	}
	return nil
}

// resolverError takes err for the reason if there are no endpoints.
func (p *pool) resolverError(err error) {
	p.mu.Lock()
	p.reason = err
	p.mu.Unlock()
	p.settle()
}

// close shuts all connections down. It tells gRPC nothing, nor does anything
// after it.
func (p *pool) close() {
	p.pushing.Lock()
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.pushing.Unlock()
	p.balancer.Close()
}

// push tells gRPC the state, and to pick again for the requests that wait.
func (p *pool) push() { p.tell(true) }

// settle tells gRPC the state if it has changed.
func (p *pool) settle() { p.tell(false) }

func (p *pool) tell(always bool) {
	p.pushing.Lock()
	defer p.pushing.Unlock()
	p.mu.Lock()
	state, failed, closed := p.state(), p.conns[connectivity.TransientFailure], p.closed
	always = always || p.chosen > 0
	p.mu.Unlock()
	if closed || state == p.told && !always {
		return
	}
	if p.told = state; state == connectivity.TransientFailure && failed > 0 {
		p.reportUnreachable()
	}
	p.cc.UpdateState(gbalancer.State{ConnectivityState: state, Picker: p})
}

// reportUnreachable tells discovery that no endpoint can be reached.
func (p *pool) reportUnreachable() {
	resolver.ReportUnreachable(grpcresolver.State{Attributes: p.source.Load()})
}

// state sums the connections up. It is called with mu held.
func (p *pool) state() connectivity.State {
	switch {
	case p.conns[connectivity.Ready] > 0:
		return connectivity.Ready
	case p.conns[connectivity.Connecting] > 0:
		return connectivity.Connecting
	default:
		return connectivity.TransientFailure
	}
}
