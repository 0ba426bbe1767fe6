package balancer

import (
	"maps"
	"slices"
	"strings"
	"sync"
)

// registry holds the Balancers of the process that have a name. It is no setting:
// nothing about it can be chosen.
var registry struct {
	mu     sync.Mutex
	live   map[*Balancer]struct{} // guarded by mu
	closed map[totalKey]*Total    // what those counted that are closed; guarded by mu
}

type totalKey struct{ target, adapter string }

// A Total is what the Balancers of one target and adapter have counted together,
// those that are closed among them. It only grows.
type Total struct {
	Target, Adapter string
	// Requests are those that have ended, by zone of the backend.
	Requests map[string]Outcomes
	Counts   Counts
}

func (t *Total) add(requests map[string]Outcomes, counts Counts) {
	for zone, more := range requests {
		sum := t.Requests[zone]
		sum.add(more)
		t.Requests[zone] = sum
	}
	t.Counts.add(counts)
}

func enlist(b *Balancer) {
	registry.mu.Lock()
	defer registry.mu.Unlock()
	if registry.live == nil {
		registry.live = make(map[*Balancer]struct{})
		registry.closed = make(map[totalKey]*Total)
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
	totalOf(registry.closed, b.hooks.Name, b.hooks.Adapter).add(b.requests(), b.counts.read())
}

func totalOf(totals map[totalKey]*Total, target, adapter string) *Total {
	key := totalKey{target, adapter}
	if totals[key] == nil {
		totals[key] = &Total{Target: target, Adapter: adapter, Requests: make(map[string]Outcomes)}
	}
	return totals[key]
}

// Statuses returns the state of each Balancer of the process that has a name, by
// target.
func Statuses() []Status {
	registry.mu.Lock()
	live := slices.Collect(maps.Keys(registry.live))
	registry.mu.Unlock()
	statuses := make([]Status, 0, len(live))
	for _, b := range live {
		statuses = append(statuses, b.Status())
	}
	slices.SortFunc(statuses, func(a, b Status) int {
		return strings.Compare(a.Target+" "+a.Adapter+" "+a.Client, b.Target+" "+b.Adapter+" "+b.Client)
	})
	return statuses
}

// Totals returns what the Balancers of the process have counted, by target and
// adapter. What requests come to that are in flight when a Balancer is closed is
// not counted.
func Totals() []Total {
	registry.mu.Lock()
	defer registry.mu.Unlock()
	sums := make(map[totalKey]*Total)
	for key, closed := range registry.closed {
		sum := totalOf(sums, key.target, key.adapter)
		sum.add(closed.Requests, closed.Counts)
	}
	for b := range registry.live {
		totalOf(sums, b.hooks.Name, b.hooks.Adapter).add(b.requests(), b.counts.read())
	}
	totals := make([]Total, 0, len(sums))
	for _, sum := range sums {
		totals = append(totals, *sum)
	}
	slices.SortFunc(totals, func(a, b Total) int {
		return strings.Compare(a.Target+" "+a.Adapter, b.Target+" "+b.Adapter)
	})
	return totals
}
