package grpcbalancer

import (
	"fmt"
	"log/slog"
	"reflect"

	gbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/base"
	"google.golang.org/grpc/connectivity"

	"github.com/sidestep-lb/sidestep/resolver"
)

// A policy balances one channel. gRPC calls its methods one at a time.
type policy struct {
	// Set at the start and read-only.
	cc     gbalancer.ClientConn
	target string

	config *lbConfig // that of pool
	pool   *pool     // nil before the first update
}

// UpdateClientConnState implements gbalancer.Balancer. It returns
// ErrBadResolverState if there is no endpoint.
func (p *policy) UpdateClientConnState(s gbalancer.ClientConnState) error {
	if err := p.configure(s.BalancerConfig, resolver.Logger(s.ResolverState)); err != nil {
		return err
	}
	return p.pool.update(s.ResolverState)
}

// configure sees to it that there is a pool with the given config. A service
// config that changes in the life of a channel is rare, so this takes the
// simplest way that fails no request: the old connections finish what they have
// begun, and new requests wait for the new ones.
func (p *policy) configure(lb any, logger *slog.Logger) error {
	config, ok := lb.(*lbConfig)
	if !ok {
		config = &lbConfig{} // the policy is named without a config
	}
	if p.pool != nil && reflect.DeepEqual(config, p.config) {
		return nil
	}
	next, err := newPool(p.cc, p.target, config, logger)
	if err != nil {
		return fmt.Errorf("%s: %w", Name, err)
	}
	if p.pool != nil {
		p.pool.close()
	}
	p.config, p.pool = config, next
	return nil
}

// ResolverError implements gbalancer.Balancer. Endpoints that are known stay in
// use.
func (p *policy) ResolverError(err error) {
	if p.pool == nil {
		p.cc.UpdateState(gbalancer.State{ConnectivityState: connectivity.TransientFailure, Picker: base.NewErrPicker(plain(err))})
		return
	}
	p.pool.resolverError(err)
}

// UpdateSubConnState implements gbalancer.Balancer. gRPC does not call it,
// because every SubConn has a listener.
func (p *policy) UpdateSubConnState(gbalancer.SubConn, gbalancer.SubConnState) {}

// ExitIdle implements gbalancer.Balancer. There is nothing to do: connections
// are asked to connect as soon as they are idle.
func (p *policy) ExitIdle() {}

// Close implements gbalancer.Balancer.
func (p *policy) Close() {
	if p.pool != nil {
		p.pool.close()
	}
}
