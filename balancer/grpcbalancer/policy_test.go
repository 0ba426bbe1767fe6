package grpcbalancer_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"weak"

	gbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	grpcresolver "google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"

	"github.com/sidestep-lb/sidestep/balancer/grpcbalancer"
)

// A channel is a gbalancer.ClientConn without a network. The test plays gRPC.
type channel struct {
	gbalancer.ClientConn

	mu       sync.Mutex
	subConns []*subConn        // guarded by mu
	states   []gbalancer.State // guarded by mu
}

func (c *channel) NewSubConn(addrs []grpcresolver.Address, opts gbalancer.NewSubConnOptions) (gbalancer.SubConn, error) {
	sc := &subConn{addr: addrs[0].Addr, listener: opts.StateListener}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.subConns = append(c.subConns, sc)
	return sc, nil
}

func (c *channel) UpdateState(s gbalancer.State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.states = append(c.states, s)
}

// made returns the SubConns so far.
func (c *channel) made() []*subConn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.subConns)
}

// heard returns how many states the channel was told, and the last.
func (c *channel) heard() (int, gbalancer.State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.states), c.states[len(c.states)-1]
}

type subConn struct {
	gbalancer.SubConn
	addr      string
	listener  func(gbalancer.SubConnState)
	unhealthy atomic.Bool // it says so when it is ready
	connects  atomic.Int32
	shutdown  atomic.Int32

	reporter *reporter
	built    int      // producers, see reports_test.go
	ends     []func() // of producers
}

func (s *subConn) Connect()  { s.connects.Add(1) }
func (s *subConn) Shutdown() { s.shutdown.Add(1) }

func (s *subConn) RegisterHealthListener(listener func(gbalancer.SubConnState)) {
	if s.unhealthy.Load() {
		listener(gbalancer.SubConnState{ConnectivityState: connectivity.TransientFailure, ConnectionError: errors.New("NOT_SERVING")})
		return
	}
	listener(gbalancer.SubConnState{ConnectivityState: connectivity.Ready})
}

func (s *subConn) becomes(state connectivity.State, err error) {
	s.listener(gbalancer.SubConnState{ConnectivityState: state, ConnectionError: err})
}

// build makes a policy with n endpoints.
func build(t *testing.T, n int, config string) (gbalancer.Balancer, *channel) {
	t.Helper()
	var list [][]string
	for i := range n {
		list = append(list, []string{fmt.Sprintf("10.0.%d.%d:80", i/250, i%250+1)})
	}
	return buildFor(t, config, list...)
}

// buildFor makes a policy with endpoints of the given addresses.
func buildFor(t *testing.T, config string, endpoints ...[]string) (gbalancer.Balancer, *channel) {
	t.Helper()
	builder := gbalancer.Get(grpcbalancer.Name)
	parsed, err := builder.(gbalancer.ConfigParser).ParseConfig(json.RawMessage(config))
	if err != nil {
		t.Fatal(err)
	}
	cc := &channel{}
	b := builder.Build(cc, gbalancer.BuildOptions{})
	t.Cleanup(b.Close)
	tell(t, b, parsed, endpoints)
	return b, cc
}

// update tells a policy of other endpoints.
func update(t *testing.T, b gbalancer.Balancer, endpoints ...[]string) {
	t.Helper()
	tell(t, b, nil, endpoints)
}

func tell(t *testing.T, b gbalancer.Balancer, config serviceconfig.LoadBalancingConfig, endpoints [][]string) {
	t.Helper()
	var s grpcresolver.State
	for _, addrs := range endpoints {
		var e grpcresolver.Endpoint
		for _, addr := range addrs {
			e.Addresses = append(e.Addresses, grpcresolver.Address{Addr: addr})
		}
		s.Endpoints = append(s.Endpoints, e)
	}
	if err := b.UpdateClientConnState(gbalancer.ClientConnState{ResolverState: s, BalancerConfig: config}); err != nil {
		t.Fatal(err)
	}
}

func TestManyConnectionsThatBecomeReadyCostFewPickers(t *testing.T) {
	_, cc := build(t, 500, "{}")
	for _, sc := range cc.made() {
		sc.becomes(connectivity.Connecting, nil)
		sc.becomes(connectivity.Ready, nil)
	}
	picked := make(map[gbalancer.SubConn]bool)
	eventually(t, "all 500 are picked", func() bool {
		_, state := cc.heard()
		for range 500 {
			if result, err := state.Picker.Pick(gbalancer.PickInfo{}); err == nil {
				result.Done(gbalancer.DoneInfo{})
				picked[result.SubConn] = true
			}
		}
		return len(picked) == 500
	})
	if n, state := cc.heard(); n > 50 || state.ConnectivityState != connectivity.Ready {
		t.Errorf("%d pickers were published, the last with state %v", n, state.ConnectivityState)
	}
}

// The addresses that a resolver hands on may be parts of one slice with those of
// thousands of others, and connections last for weeks.
func TestAConnectionKeepsNothingOfTheStateThatItCameWith(t *testing.T) {
	b, _ := build(t, 1, "{}")
	texts := []string{"10.0.1.1:80", "10.0.1.2:80"}
	kept := func() weak.Pointer[grpcresolver.Address] {
		all := []grpcresolver.Address{{Addr: texts[0]}, {Addr: texts[1]}}
		s := grpcresolver.State{Endpoints: []grpcresolver.Endpoint{{Addresses: all[:1:1]}, {Addresses: all[1:]}}}
		if err := b.UpdateClientConnState(gbalancer.ClientConnState{ResolverState: s}); err != nil {
			t.Fatal(err)
		}
		return weak.Make(&all[0])
	}()
	update(t, b, texts[:1], texts[1:])
	runtime.GC()
	if kept.Value() != nil {
		t.Error("it is there still")
	}
	runtime.KeepAlive(b)
}

func TestPickAllocatesNothing(t *testing.T) {
	for _, config := range []string{`{"policy":"round_robin"}`, `{"policy":"least_request"}`} {
		_, cc := build(t, 10, config)
		for _, sc := range cc.made() {
			sc.becomes(connectivity.Ready, nil)
		}
		eventually(t, "the channel is ready", func() bool {
			_, state := cc.heard()
			_, err := state.Picker.Pick(gbalancer.PickInfo{})
			return err == nil
		})
		_, state := cc.heard()
		allocs := testing.AllocsPerRun(1000, func() {
			result, err := state.Picker.Pick(gbalancer.PickInfo{})
			if err != nil {
				t.Fatal(err)
			}
			result.Done(gbalancer.DoneInfo{})
		})
		if allocs != 0 {
			t.Errorf("%s: %v allocations for a pick", config, allocs)
		}
	}
}

// gRFC A62: between two attempts to connect, the channel must not seem to be
// about to be ready.
func TestChannelThatFailedStaysSoUntilItIsReady(t *testing.T) {
	_, cc := build(t, 2, "{}")
	if _, state := cc.heard(); state.ConnectivityState != connectivity.Connecting {
		t.Fatalf("the first state is %v", state.ConnectivityState)
	}
	for _, sc := range cc.made() {
		sc.becomes(connectivity.TransientFailure, errors.New("connection refused"))
	}
	for _, s := range []connectivity.State{connectivity.Idle, connectivity.Connecting} {
		cc.made()[0].becomes(s, nil)
		if _, state := cc.heard(); state.ConnectivityState != connectivity.TransientFailure {
			t.Errorf("after %v the channel is %v", s, state.ConnectivityState)
		}
	}
	cc.made()[0].becomes(connectivity.Ready, nil)
	eventually(t, "the channel is ready", func() bool {
		_, state := cc.heard()
		return state.ConnectivityState == connectivity.Ready
	})
	cc.made()[0].becomes(connectivity.Idle, nil) // lost, and connecting again
	eventually(t, "the channel is connecting", func() bool {
		_, state := cc.heard()
		return state.ConnectivityState == connectivity.Connecting
	})
}

// gRPC lets a request that was given a connection which is not ready any more
// wait for the next picker. There must be one.
func TestLossOfAConnectionAlwaysBringsANewPicker(t *testing.T) {
	_, cc := build(t, 2, "{}")
	for _, sc := range cc.made() {
		sc.becomes(connectivity.Ready, nil)
	}
	eventually(t, "the channel is ready", func() bool {
		_, state := cc.heard()
		return state.ConnectivityState == connectivity.Ready
	})
	for range 20 {
		before, _ := cc.heard()
		cc.made()[0].becomes(connectivity.Idle, nil)
		cc.made()[0].becomes(connectivity.Connecting, nil)
		cc.made()[0].becomes(connectivity.Ready, nil)
		eventually(t, "a new picker comes", func() bool {
			now, _ := cc.heard()
			return now > before
		})
	}
}

func TestNothingIsToldAfterClose(t *testing.T) {
	for range 20 {
		b, cc := build(t, 10, "{}")
		for _, sc := range cc.made() {
			sc.becomes(connectivity.Ready, nil)
		}
		b.Close()
		b.Close()
		told, state := cc.heard()
		for _, sc := range cc.made() {
			eventually(t, "a connection is shut down", func() bool { return sc.shutdown.Load() == 1 })
			sc.becomes(connectivity.Idle, nil)
			sc.becomes(connectivity.TransientFailure, errors.New("closed"))
			sc.becomes(connectivity.Shutdown, nil)
		}
		b.ResolverError(errors.New("closed"))
		if _, err := state.Picker.Pick(gbalancer.PickInfo{}); !errors.Is(err, gbalancer.ErrNoSubConnAvailable) {
			t.Errorf("a pick after Close returns %v", err)
		}
		if now, _ := cc.heard(); now != told {
			t.Errorf("gRPC was told something after Close")
		}
	}
}

// Policies that wrap others write the config as JSON again.
func TestConfigSurvivesJSON(t *testing.T) {
	parser := gbalancer.Get(grpcbalancer.Name).(gbalancer.ConfigParser)
	config, err := parser.ParseConfig(json.RawMessage(`{"policy":"round_robin","of_the_future":true}`))
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(config)
	if err != nil || string(text) != `{"policy":"round_robin"}` {
		t.Errorf("got %s, %v", text, err)
	}

	const complete = `{"maxConnections":3,"policy":"weighted","reportPeriod":"10s","slowStart":"1.5s","streamsPerConnection":7}`
	if config, err = parser.ParseConfig(json.RawMessage(complete)); err != nil {
		t.Fatal(err)
	}
	if text, err = json.Marshal(config); err != nil || string(text) != complete {
		t.Errorf("got %s, %v", text, err)
	}
}

func TestAMistakeInTheConfigOfThePolicyIsAnErrorThatNamesTheField(t *testing.T) {
	parser := gbalancer.Get(grpcbalancer.Name).(gbalancer.ConfigParser)
	for text, want := range map[string]string{
		`{"policy":7}`:           `sidestep config: policy: number is not a string`,
		`{"slowStart":"soon"}`:   `sidestep config: slowStart: "soon" is not a duration such as "1.5s"`,
		`{"reportPeriod":10}`:    `sidestep config: reportPeriod: 10 is not a duration such as "1.5s"`,
		`{"maxConnections":"3"}`: `sidestep config: maxConnections: string is not a whole number`,
		`{"choices":11}`:         `sidestep config: choices: want 2 to 10`,
	} {
		if _, err := parser.ParseConfig(json.RawMessage(text)); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}
