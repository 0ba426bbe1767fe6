// Package lb runs load-balancing policies without a network, to measure what
// they cost. A policy of gRPC is built as gRPC builds it, by its name, and gets
// the state of a name resolver; its channel and its connections are stand-ins:
//
//	c, err := newChannel(client)
//	c.update(stateOf(endpoints))
//	c.settle() // all connections are ready
//	result, err := c.Pick(info)
//
// [Run] is what a process does that measures one client.
package lb

import (
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	estats "google.golang.org/grpc/experimental/stats"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"
)

// quiet is how long a policy must not publish a picker to be done with it all.
const quiet = 50 * time.Millisecond

// A channel stands in for that of gRPC. Its connections always succeed.
type channel struct {
	balancer.ClientConn // what the policies here do not use is missing

	// Set at the start and read-only.
	policy balancer.Balancer
	config serviceconfig.LoadBalancingConfig
	early  bool // see Client.early

	picker    atomic.Pointer[balancer.Picker] // the last one
	published atomic.Int64                    // pickers so far

	mu sync.Mutex
	// What connections have to tell. As in a network, all of them begin to
	// connect before the first is ready. Guarded by mu.
	events []func()
}

func newChannel(c Client) (*channel, error) {
	builder := balancer.Get(c.policy)
	if builder == nil {
		return nil, fmt.Errorf("there is no policy %q", c.policy)
	}
	ch := &channel{early: c.early}
	if parser, ok := builder.(balancer.ConfigParser); ok {
		var err error
		if ch.config, err = parser.ParseConfig(json.RawMessage(c.config)); err != nil {
			return nil, fmt.Errorf("%s: %w", c.Name, err)
		}
	}
	ch.policy = builder.Build(ch, balancer.BuildOptions{})
	return ch, nil
}

// update hands the policy a new state of the name resolver.
func (ch *channel) update(s resolver.State) error {
	return ch.policy.UpdateClientConnState(balancer.ClientConnState{ResolverState: s, BalancerConfig: ch.config})
}

// settle lets the connections tell all they have to tell, one after the other,
// and waits until the policy has published what it makes of it.
func (ch *channel) settle() {
	for published := int64(-1); published != ch.published.Load(); {
		published = ch.published.Load()
		ch.deliver()
		time.Sleep(quiet)
	}
}

func (ch *channel) deliver() {
	for {
		ch.mu.Lock()
		events := ch.events
		ch.events = nil
		ch.mu.Unlock()
		if len(events) == 0 {
			return
		}
		for _, event := range events {
			event()
		}
	}
}

func (ch *channel) later(event func()) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	ch.events = append(ch.events, event)
}

func (ch *channel) close() { ch.policy.Close() }

// Pick picks as gRPC does, by the last picker.
func (ch *channel) Pick(info balancer.PickInfo) (balancer.PickResult, error) {
	return (*ch.picker.Load()).Pick(info)
}

// UpdateState implements balancer.ClientConn.
func (ch *channel) UpdateState(s balancer.State) {
	ch.picker.Store(&s.Picker)
	ch.published.Add(1)
}

// NewSubConn implements balancer.ClientConn.
func (ch *channel) NewSubConn(_ []resolver.Address, o balancer.NewSubConnOptions) (balancer.SubConn, error) {
	return &subConn{channel: ch, listener: o.StateListener}, nil
}

// ResolveNow implements balancer.ClientConn.
func (ch *channel) ResolveNow(resolver.ResolveNowOptions) {}

// Target implements balancer.ClientConn.
func (ch *channel) Target() string { return "" }

// MetricsRecorder implements balancer.ClientConn.
func (ch *channel) MetricsRecorder() estats.MetricsRecorder { return noMetrics{} }

type noMetrics struct {
	estats.UnimplementedMetricsRecorder
}

// A subConn stands in for a connection.
type subConn struct {
	balancer.SubConn
	channel  *channel
	listener func(balancer.SubConnState)
}

// Connect implements balancer.SubConn.
func (s *subConn) Connect() {
	if s.channel.early {
		s.channel.deliver()
	}
	s.tell(s.listener, connectivity.Connecting)
	s.tell(s.listener, connectivity.Ready)
}

// RegisterHealthListener implements balancer.SubConn. There are no health checks.
func (s *subConn) RegisterHealthListener(listener func(balancer.SubConnState)) {
	s.tell(listener, connectivity.Ready)
}

// Shutdown implements balancer.SubConn.
func (s *subConn) Shutdown() { s.tell(s.listener, connectivity.Shutdown) }

func (s *subConn) tell(listener func(balancer.SubConnState), state connectivity.State) {
	s.channel.later(func() { listener(balancer.SubConnState{ConnectivityState: state}) })
}
