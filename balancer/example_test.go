package balancer_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/health"
)

func ExampleConfig() {
	var config balancer.Config // the zero value is ready to use
	fmt.Println(config.Validate())

	err := json.Unmarshal([]byte(`{"policy": "round_robin"}`), &config)
	fmt.Println(config.Policy, err, config.Validate())
	// Output:
	// <nil>
	// round_robin <nil> <nil>
}

// primary is a policy of the program's own: all requests go to the backend with
// the lowest address, as long as it is fit.
type primary struct{}

// Picker implements balancer.Policy.
func (primary) Picker(backends []*balancer.Backend) balancer.Picker {
	return primaryPicker(slices.SortedFunc(slices.Values(backends), func(x, y *balancer.Backend) int {
		return x.Endpoint().Addr.Compare(y.Endpoint().Addr)
	}))
}

type primaryPicker []*balancer.Backend

// Pick implements balancer.Picker.
func (p primaryPicker) Pick(r balancer.Request) *balancer.Backend {
	for _, b := range p {
		if r.Admits(b) {
			return b
		}
	}
	return nil
}

func ExampleConfig_newPolicy() {
	config := balancer.Config{
		NewPolicy: func(func() uint64) balancer.Policy { return primary{} },
	}

	// This is what an adapter does; programs hand config to grpcbalancer or
	// httpbalancer.
	b, err := balancer.New(config, balancer.Hooks{Connect: func(*balancer.Backend) balancer.Conn { return noConn{} }})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer b.Close()
	b.Update([]discovery.Endpoint{
		{Addr: netip.MustParseAddrPort("10.0.0.2:80")},
		{Addr: netip.MustParseAddrPort("10.0.0.1:80")},
	})
	for _, outcome := range []health.Outcome{health.Success, health.Unreachable, health.Success} {
		pick, err := b.Pick(balancer.Request{})
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(pick.Backend().Endpoint().Addr, outcome)
		pick.Done(balancer.Result{Outcome: outcome})
	}
	// Output:
	// 10.0.0.1:80 success
	// 10.0.0.1:80 unreachable
	// 10.0.0.2:80 success
}

type noConn struct{}

// Drain implements balancer.Conn.
func (noConn) Drain() {}
