package adapter

import (
	"maps"
	"slices"
	"sync"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/internal/link"
	"github.com/sidestep-lb/sidestep/health"
)

//nolint:gochecknoinits // package balancer hands these on, and cannot import this one
func init() {
	link.SetReporting(link.Reporting[balancer.Status, balancer.Total, balancer.Sample]{
		Statuses: statuses, Totals: totals, SampleLatencies: sampleLatencies,
	})
}

// registry holds the Balancers of the process that have a name. It is no setting:
// nothing about it can be chosen.
var registry struct {
	mu     sync.Mutex
	live   map[*Balancer]struct{}       // guarded by mu
	closed map[totalKey]*balancer.Total // what those counted that are closed; guarded by mu
}

type totalKey struct{ target, adapter string }

func addTotal(t *balancer.Total, requests map[string]balancer.Outcomes, counts balancer.Counts) {
	for zone, more := range requests {
		t.Requests[zone] = sumOf(t.Requests[zone], more)
	}
	addCounts(&t.Counts, counts)
}

func sumOf(a, b balancer.Outcomes) balancer.Outcomes {
	for i := range a {
		a[i] += b[i]
	}
	return a
}

func addCounts(c *balancer.Counts, more balancer.Counts) {
	if c.Ejections == nil {
		c.Ejections, c.Retries = make(map[health.Cause]uint64), make(map[balancer.Reason]uint64)
	}
	for cause, n := range more.Ejections {
		c.Ejections[cause] += n
	}
	for reason, n := range more.Retries {
		c.Retries[reason] += n
	}
	c.Readmissions += more.Readmissions
	c.FailOpens += more.FailOpens
	c.Repicks += more.Repicks
	c.NoBackend += more.NoBackend
	c.Newcomers += more.Newcomers
}

func enlist(b *Balancer) {
	registry.mu.Lock()
	defer registry.mu.Unlock()
	if registry.live == nil {
		registry.live = make(map[*Balancer]struct{})
		registry.closed = make(map[totalKey]*balancer.Total)
	}
	registry.live[b] = struct{}{}
}

// delist is called when b is closed.
func delist(b *Balancer) {
	registry.mu.Lock()
	defer registry.mu.Unlock()
	if _, live := registry.live[b]; !live {
		return
	}
	delete(registry.live, b)
	addTotal(totalOf(registry.closed, b.hooks.Name, b.hooks.Adapter), b.requests(), b.counts.read())
}

func totalOf(totals map[totalKey]*balancer.Total, target, adapter string) *balancer.Total {
	key := totalKey{target, adapter}
	if totals[key] == nil {
		totals[key] = &balancer.Total{Target: target, Adapter: adapter, Requests: make(map[string]balancer.Outcomes)}
	}
	return totals[key]
}

// statuses and totals are in no order: package balancer sorts them.
func statuses() []balancer.Status {
	registry.mu.Lock()
	live := slices.Collect(maps.Keys(registry.live))
	registry.mu.Unlock()
	statuses := make([]balancer.Status, 0, len(live))
	for _, b := range live {
		statuses = append(statuses, b.Status())
	}
	return statuses
}

func totals() []balancer.Total {
	registry.mu.Lock()
	defer registry.mu.Unlock()
	sums := make(map[totalKey]*balancer.Total)
	for key, closed := range registry.closed {
		addTotal(totalOf(sums, key.target, key.adapter), closed.Requests, closed.Counts)
	}
	for b := range registry.live {
		addTotal(totalOf(sums, b.hooks.Name, b.hooks.Adapter), b.requests(), b.counts.read())
	}
	totals := make([]balancer.Total, 0, len(sums))
	for _, sum := range sums {
		totals = append(totals, *sum)
	}
	return totals
}
