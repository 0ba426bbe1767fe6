package adapter

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/discovery"
)

// replace makes the Balancer hold backends for exactly these endpoints. It
// returns those that are to leave, and whether the rotation has changed.
func (b *Balancer) replace(endpoints []discovery.Endpoint) (gone []*Backend, changed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, false
	}
	d, inOrder := b.compareLocked(endpoints)
	if !inOrder {
		endpoints = distinct(endpoints)
		d, _ = b.compareLocked(endpoints)
	}
	b.given = endpoints
	if d == nil {
		return nil, false
	}
	came := make([]*Backend, 0, len(d.came))
	for _, i := range d.came {
		d.listed[i] = b.newBackendLocked(&endpoints[i])
		came = append(came, d.listed[i])
	}
	for _, i := range d.altered {
		changed = b.alterLocked(d.listed[i], &endpoints[i]) || changed
	}
	for _, be := range d.gone {
		b.forgetLocked(be)
	}
	b.listed = d.listed
	if len(came) == 0 && len(d.gone) == 0 {
		return nil, changed
	}
	b.ordered = b.mergeLocked(came, d.gone)
	b.gone = append(b.gone, d.gone...)
	b.sweepGoneLocked()
	b.recordEvent(balancer.EventEndpoints, nil, fmt.Sprintf("%d came, %d left, %d in all", len(came), len(d.gone), len(b.ordered)))
	return d.gone, true
}

// A difference is what an update changes.
type difference struct {
	listed  []*Backend // those that there are then, nil where one comes
	came    []int      // where that is
	altered []int      // where something else is known of the endpoint
	gone    []*Backend
}

// compareLocked returns the difference between the endpoints of the last update and
// these, nil if there is none. Updates come often and change little, so this is
// one walk along both lists, which follows no pointers: those of the backends
// would cost more than all the rest. It reports whether these are in order, as
// those of a Snapshot are; if not, there is nothing to be learned from the walk.
// It is called with mu held.
func (b *Balancer) compareLocked(endpoints []discovery.Endpoint) (_ *difference, inOrder bool) {
	old, i := b.given, 0 // what has been passed of the old ones
	for i < min(len(old), len(endpoints)) && old[i].Equal(&endpoints[i]) {
		i++
	}
	if i == len(old) && i == len(endpoints) {
		return nil, true
	}
	d := &difference{listed: append(make([]*Backend, 0, len(endpoints)), b.listed[:i]...)}
	for j := i; j < len(endpoints); j++ {
		e := &endpoints[j]
		if i < len(old) && old[i].Equal(e) { // usually
			d.listed = append(d.listed, b.listed[i])
			i++
			continue
		}
		for i < len(old) && byIdentity(&old[i], e) < 0 {
			d.gone = append(d.gone, b.listed[i])
			i++
		}
		switch {
		case i < len(old) && old[i].Identity() == e.Identity():
			if !old[i].Equal(e) {
				d.altered = append(d.altered, j)
			}
			d.listed = append(d.listed, b.listed[i])
			i++
		case j > 0 && byIdentity(&endpoints[j-1], e) >= 0:
			return nil, false
		default:
			d.came = append(d.came, j)
			d.listed = append(d.listed, nil)
		}
	}
	d.gone = append(d.gone, b.listed[i:]...)
	return d, true
}

// byIdentity is the order of the endpoints of a Snapshot.
func byIdentity(x, y *discovery.Endpoint) int {
	return cmp.Or(x.Addr.Compare(y.Addr), cmp.Compare(x.UID, y.UID))
}

// distinct returns the endpoints in order, each once.
func distinct(endpoints []discovery.Endpoint) []discovery.Endpoint {
	return slices.CompactFunc(discovery.NewSnapshot(endpoints).Endpoints, func(x, y discovery.Endpoint) bool {
		return x.Identity() == y.Identity()
	})
}

// alterLocked tells a backend what discovery says of its endpoint now, and reports
// whether that changes the rotation. It is called with mu held.
func (b *Balancer) alterLocked(be *Backend, e *discovery.Endpoint) (changed bool) {
	own := *e
	be.endpoint.Store(&own)
	weight, priority := max(e.Weight, 1), uint32(e.Priority)
	changed = be.weight.Load() != weight || be.priority.Load() != priority
	if changed {
		be.weight.Store(weight)
		b.prioritizeLocked(be, priority)
	}
	return changed
}

// prioritizeLocked is called with mu held.
func (b *Balancer) prioritizeLocked(be *Backend, priority uint32) {
	if be.priority.Swap(priority) > 0 {
		b.further--
	}
	if priority > 0 {
		b.further++
	}
}

// newBackendLocked is called with mu held.
func (b *Balancer) newBackendLocked(e *discovery.Endpoint) *Backend {
	be := &Backend{balancer: b, rank: b.hooks.Random()}
	own := *e // whatever else it came with is not to be kept for as long as it is there
	be.endpoint.Store(&own)
	if _, own := b.policy.(*ownPolicy); own {
		be.view = &balancer.Backend{BackendState: be}
	}
	if b.keyed != nil {
		be.seed = seedOf(e)
	}
	be.weight.Store(max(e.Weight, 1))
	b.prioritizeLocked(be, uint32(e.Priority))
	if len(b.listed) > 0 { // the first ones have nobody to leave the work to
		be.joined = b.hooks.Now()
		be.startRamp(be.joined)
		b.counts.newcomers.Add(1)
		if b.slowStart > 0 {
			be.set(warming)
		}
	}
	if b.hooks.ConnectFirst {
		be.set(unreachable)
	}
	be.conn = b.hooks.Connect(be)
	return be
}

// forgetLocked is called with mu held, for a backend that leaves.
func (b *Balancer) forgetLocked(be *Backend) {
	be.gone = true
	b.prioritizeLocked(be, 0)
	if be.unset(ejected) {
		b.ejected--
	}
}

// few is how many changes are made one by one. Each moves half of the list, but
// moving pointers is much faster than following them.
const few = 16

// mergeLocked returns all backends in this client's order: those that were there
// already and have not gone, and came. It is called with mu held.
func (b *Balancer) mergeLocked(came, gone []*Backend) []*Backend {
	byRank := func(x, y *Backend) int { return cmp.Compare(x.rank, y.rank) }
	if len(came)+len(gone) <= few {
		merged := append(make([]*Backend, 0, len(b.ordered)+len(came)), b.ordered...)
		for _, be := range gone {
			i, _ := slices.BinarySearchFunc(merged, be, byRank)
			i += slices.Index(merged[i:], be) // ranks may be equal
			merged = slices.Delete(merged, i, i+1)
		}
		for _, be := range came {
			i, _ := slices.BinarySearchFunc(merged, be.rank, func(x *Backend, rank uint64) int {
				if x.rank <= rank {
					return -1
				}
				return 1
			})
			merged = slices.Insert(merged, i, be)
		}
		return merged
	}
	slices.SortFunc(came, byRank)
	merged := make([]*Backend, 0, len(b.listed))
	for _, be := range b.ordered {
		if be.gone {
			continue
		}
		for len(came) > 0 && byRank(came[0], be) < 0 {
			merged, came = append(merged, came[0]), came[1:]
		}
		merged = append(merged, be)
	}
	return append(merged, came...)
}
