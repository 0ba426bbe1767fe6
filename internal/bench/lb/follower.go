package lb

import (
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/resolver"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/adapter"
	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/health"
)

// A channelFollower is a policy of gRPC.
type channelFollower struct {
	*channel
	state resolver.State
}

func (f *channelFollower) prepare(list []discovery.Endpoint) (err error) {
	f.state, err = stateOf(list)
	return err
}

func (f *channelFollower) update() error { return f.channel.update(f.state) }

func (f *channelFollower) publications() int { return int(f.published.Load()) }

// A balancerFollower is package balancer by itself, with an adapter that does
// nothing but to connect.
type balancerFollower struct {
	balancer  *adapter.Balancer
	list      []discovery.Endpoint
	published atomic.Int64

	mu         sync.Mutex
	connecting []*adapter.Backend // guarded by mu
}

func newBalancerFollower() (*balancerFollower, error) {
	f := &balancerFollower{}
	b, err := adapter.New(balancer.Config{}, adapter.Hooks{
		ConnectFirst: true,
		Connect:      f.connect,
		Published:    func() { f.published.Add(1) },
	})
	f.balancer = b
	return f, err
}

func (f *balancerFollower) connect(b *adapter.Backend) adapter.Conn {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.connecting = append(f.connecting, b)
	return nothing{}
}

type nothing struct{}

func (nothing) Drain() {}

func (f *balancerFollower) prepare(list []discovery.Endpoint) error {
	f.list = list
	return nil
}

func (f *balancerFollower) update() error {
	f.balancer.Update(f.list)
	return nil
}

func (f *balancerFollower) settle() {
	f.mu.Lock()
	connecting := f.connecting
	f.connecting = nil
	f.mu.Unlock()
	for _, b := range connecting {
		b.Observe(health.Success)
	}
	for published := int64(-1); published != f.published.Load(); {
		published = f.published.Load()
		time.Sleep(quiet)
	}
}

func (f *balancerFollower) publications() int { return int(f.published.Load()) }

func (f *balancerFollower) close() { f.balancer.Close() }
