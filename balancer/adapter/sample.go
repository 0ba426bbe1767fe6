package adapter

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/health"
)

// samplePeriod is the shortest time between two samples of a Balancer. To measure
// a latency where the policy does not takes two looks at a clock, which cost as much
// as the rest of a pick.
const samplePeriod = 10 * time.Millisecond

// samplers are those of SampleLatencies; nil if there are none.
var (
	samplers   atomic.Pointer[[]*func(balancer.Sample)]
	samplersMu sync.Mutex // held to change it
)

// sampleLatencies calls f for some of the requests to backends of Balancers that
// have a name, until stop is called: a hundred a second of each Balancer at most,
// each of them the first that comes after a while. It is for reports to the outside.
// f is called by many goroutines, and must not block.
func sampleLatencies(f func(balancer.Sample)) (stop func()) {
	change := func(change func([]*func(balancer.Sample)) []*func(balancer.Sample)) {
		samplersMu.Lock()
		defer samplersMu.Unlock()
		var list []*func(balancer.Sample)
		if old := samplers.Load(); old != nil {
			list = slices.Clone(*old)
		}
		if list = change(list); len(list) == 0 {
			samplers.Store(nil)
			return
		}
		samplers.Store(&list)
	}
	change(func(list []*func(balancer.Sample)) []*func(balancer.Sample) { return append(list, &f) })
	return sync.OnceFunc(func() {
		change(func(list []*func(balancer.Sample)) []*func(balancer.Sample) {
			return slices.DeleteFunc(list, func(g *func(balancer.Sample)) bool { return g == &f })
		})
	})
}

// takesSample reports whether the next request is to be a sample.
func (b *Balancer) takesSample() bool {
	if samplers.Load() == nil || b.sampled.Load() || b.hooks.Name == "" || !b.sampled.CompareAndSwap(false, true) {
		return false
	}
	b.hooks.AfterFunc(samplePeriod, func() { b.sampled.Store(false) })
	return true
}

// sample hands a request that began at start to the samplers.
func (b *Backend) sample(start int64, o health.Outcome) {
	list := samplers.Load()
	if list == nil {
		return
	}
	s := balancer.Sample{
		Target:  b.balancer.hooks.Name,
		Adapter: b.balancer.hooks.Adapter,
		Zone:    b.Endpoint().Zone,
		Outcome: o,
		Latency: time.Duration(b.balancer.hooks.Now() - start),
	}
	for _, f := range *list {
		(*f)(s)
	}
}
