package grpcbalancer

import (
	"context"
	"errors"
	"slices"
	"sync"

	"google.golang.org/grpc"
	gbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"

	"github.com/sidestep-lb/sidestep/balancer/adapter"
	"github.com/sidestep-lb/sidestep/discovery"
)

// A Result is what came of a call to one backend.
type Result[T any] struct {
	// Endpoint is the backend.
	Endpoint discovery.Endpoint
	// Value is what the call returned, with Err.
	Value T
	Err   error
}

// allAtOnce is how many calls All makes at the same time.
const allAtOnce = 32

var errNotBalanced = errors.New("grpcbalancer.All: the function made no call over a channel with the policy " + Name)

// All makes a call to each backend of a channel, 32 at a time, and returns what
// came of each, by address. The call is made by a function, which has to pass
// its context on to it:
//
//	results, err := grpcbalancer.All(ctx, func(ctx context.Context) (*pb.Stats, error) {
//		return client.Stats(ctx, &pb.StatsRequest{})
//	})
//
// Backends are all that this client may use, fit or not: what is left of the
// Service's endpoints by readiness, topology hints, internalTrafficPolicy and
// SubsetSize. One that cannot be reached has an Err with code UNAVAILABLE. All
// waits for connections that are being made, as long as ctx lets it, and a call
// that gRPC retries goes to the same backend again. If the function calls several
// channels, the backends are those of the first. The error is that of a channel
// without any backend, and then there are no results.
func All[T any](ctx context.Context, call func(ctx context.Context) (T, error)) ([]Result[T], error) {
	g := &group{listed: make(chan struct{})}
	defer g.leave()
	var first Result[T]
	firstDone := make(chan struct{})
	go func() { // it finds the backends
		defer close(firstDone)
		first.Value, first.Err = call(g.context(ctx, 0))
	}()
	select {
	case <-g.listed:
	case <-firstDone:
		select {
		case <-g.listed:
		default:
			if first.Err == nil {
				first.Err = errNotBalanced
			}
			return nil, first.Err
		}
	}
	results := make([]Result[T], len(g.backends))
	turns := make(chan struct{}, allAtOnce)
	var all sync.WaitGroup
	for i := 1; i < len(results); i++ {
		turns <- struct{}{}
		all.Go(func() {
			defer func() { <-turns }()
			results[i].Value, results[i].Err = call(g.context(ctx, i))
		})
	}
	all.Wait()
	<-firstDone
	results[0] = first
	for i, b := range g.backends {
		results[i].Endpoint = *b.Endpoint()
	}
	slices.SortFunc(results, func(a, b Result[T]) int { return a.Endpoint.Addr.Compare(b.Endpoint.Addr) })
	return results, nil
}

// A group is the backends that are to be called, each by a member.
type group struct {
	listed chan struct{} // closed when the two below are set

	mu       sync.Mutex
	cc       *grpc.ClientConn   // that was called first, if it has the interceptors of DialOptions; guarded by mu
	pool     *pool              // whose backends they are; set once, guarded by mu
	backends []*adapter.Backend // set with pool
}

type member struct {
	group *group
	index int
}

// in returns the member in a call over cc: none if another channel was called
// first.
func (m *member) in(cc *grpc.ClientConn) *member {
	if m == nil {
		return nil
	}
	m.group.mu.Lock()
	defer m.group.mu.Unlock()
	if m.group.cc == nil {
		m.group.cc = cc
	}
	if m.group.cc != cc {
		return nil
	}
	return m
}

func (g *group) context(ctx context.Context, index int) context.Context {
	c := &callContext{Context: ctx, member: &member{g, index}}
	c.history = &c.own
	return c
}

// leave is called when all calls have ended.
func (g *group) leave() {
	if g.pool != nil {
		g.pool.mu.Lock()
		defer g.pool.mu.Unlock()
		g.pool.chosen--
	}
}

// certain returns the backend that an attempt is to go to in p, if it is to go to
// a certain one. The first attempt of a group finds out which there are.
func (c *callContext) certain(p *pool) *adapter.Backend {
	if c.member == nil {
		return nil
	}
	g := c.member.group
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.pool == nil {
		backends := p.balancer.Backends()
		if len(backends) == 0 {
			return nil // the pick will say why
		}
		p.mu.Lock()
		p.chosen++
		p.mu.Unlock()
		g.pool, g.backends = p, backends
		close(g.listed)
	}
	if g.pool != p { // the function made a call over another channel as well
		return nil
	}
	return g.backends[c.member.index]
}

// take picks a certain backend, or says that the attempt has to wait for it.
func (p *pool) take(be *adapter.Backend) (adapter.Pick, error) {
	c := be.Conn().(*connection)
	p.mu.Lock()
	state, err := c.state, c.err
	p.mu.Unlock()
	switch state {
	case connectivity.Ready:
		return p.balancer.Take(be), nil
	case connectivity.TransientFailure:
		return adapter.Pick{}, status.Errorf(codes.Unavailable, "%s: %s cannot be reached: last error: %v", p.target, be.Endpoint(), err)
	case connectivity.Shutdown:
		return adapter.Pick{}, status.Errorf(codes.Unavailable, "%s: %s has left", p.target, be.Endpoint())
	default:
		return adapter.Pick{}, gbalancer.ErrNoSubConnAvailable // gRPC is told when that changes, as p.chosen is not 0
	}
}
