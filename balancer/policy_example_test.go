package balancer_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/adapter"
	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/health"
)

// primary is a policy of the program's own: all requests go to the backend with
// the lowest address, as long as it is fit. It is an Observer, too.
type primary struct{ failures *atomic.Int32 }

// Picker implements balancer.Policy.
func (primary) Picker(backends []*balancer.Backend) balancer.Picker {
	return primaryPicker(slices.SortedFunc(slices.Values(backends), func(x, y *balancer.Backend) int {
		return x.Endpoint().Addr.Compare(y.Endpoint().Addr)
	}))
}

// Observe implements balancer.Observer.
func (p primary) Observe(_ *balancer.Backend, outcome health.Outcome, _ time.Duration) {
	if outcome.Failed() {
		p.failures.Add(1)
	}
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

var failures atomic.Int32

//nolint:gochecknoinits // as RegisterPolicy wants it
func init() {
	balancer.RegisterPolicy("primary", func(func() uint64) balancer.Policy { return primary{&failures} })
}

func ExampleRegisterPolicy() {
	var config balancer.Config
	if err := json.Unmarshal([]byte(`{"policy": "primary"}`), &config); err != nil {
		fmt.Println(err)
		return
	}

	// This is what an adapter does; programs hand config to grpcbalancer or
	// httpbalancer.
	b, err := adapter.New(config, adapter.Hooks{Connect: func(*adapter.Backend) adapter.Conn { return noConn{} }})
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
		pick, err := b.Pick(adapter.Request{})
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(pick.Backend().Endpoint().Addr, outcome)
		pick.Done(adapter.Result{Outcome: outcome})
	}
	fmt.Println(failures.Load(), "failed")
	// Output:
	// 10.0.0.1:80 success
	// 10.0.0.1:80 unreachable
	// 10.0.0.2:80 success
	// 1 failed
}

type noConn struct{}

// Drain implements adapter.Conn.
func (noConn) Drain() {}
