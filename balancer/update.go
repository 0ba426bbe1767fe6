package balancer

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/sidestep-lb/sidestep/discovery"
)

// replace makes the Balancer hold backends for exactly these endpoints. It
// returns those that are to leave, and whether the rotation has changed.
//
// Updates come often and change little, so what is alike at both ends of the
// old list and the new one is passed over, and between them the two are walked
// together. Only what is not found that way is looked up.
func (b *Balancer) replace(endpoints []discovery.Endpoint) (gone []*Backend, changed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, false
	}
	b.generation++
	old, n := b.listed, len(endpoints)
	head, tail := 0, 0
	for head < min(len(old), n) && old[head].endpoint.Load().Identity() == endpoints[head].Identity() {
		changed = b.keep(old[head], &endpoints[head]) || changed
		head++
	}
	for tail < min(len(old), n)-head && old[len(old)-1-tail].endpoint.Load().Identity() == endpoints[n-1-tail].Identity() {
		changed = b.keep(old[len(old)-1-tail], &endpoints[n-1-tail]) || changed
		tail++
	}
	if head == len(old) && head == n {
		return nil, changed
	}
	listed := append(make([]*Backend, 0, n), old[:head]...)
	var came []*Backend
	rest := old[head : len(old)-tail]
	for i := head; i < n-tail; i++ {
		e := &endpoints[i]
		be, left := b.find(e.Identity(), rest)
		rest = left
		switch {
		case be == nil:
			be = b.newBackend(e)
			b.backends[e.Identity()] = be
			came = append(came, be)
		case be.generation == b.generation: // named twice
			continue
		default:
			changed = b.keep(be, e) || changed
		}
		listed = append(listed, be)
	}
	for _, be := range old[head : len(old)-tail] {
		if be.generation != b.generation {
			gone = append(gone, be)
			b.forget(be)
		}
	}
	listed = append(listed, old[len(old)-tail:]...)
	b.listed = listed
	if len(came) == 0 && len(gone) == 0 {
		return nil, changed
	}
	b.ordered = b.merge(came, gone)
	b.gone = append(b.gone, gone...)
	b.sweepGone()
	b.happened(EventEndpoints, nil, fmt.Sprintf("%d came, %d left, %d in all", len(came), len(gone), len(b.ordered)))
	return gone, true
}

// find returns the backend of an endpoint, nil if it is new. As a rule it is the
// first of those that the old list has left, or the one before has gone. It is
// called with mu held.
func (b *Balancer) find(id discovery.Identity, rest []*Backend) (_ *Backend, left []*Backend) {
	switch {
	case len(rest) > 0 && rest[0].endpoint.Load().Identity() == id:
		return rest[0], rest[1:]
	case len(rest) > 1 && rest[1].endpoint.Load().Identity() == id:
		return rest[1], rest[2:]
	default:
		return b.backends[id], rest
	}
}

// keep tells a backend what discovery says of its endpoint now, and reports
// whether that changes the rotation. It is called with mu held.
func (b *Balancer) keep(be *Backend, e *discovery.Endpoint) (changed bool) {
	be.generation = b.generation
	be.endpoint.Store(e)
	weight, priority := max(e.Weight, 1), uint32(e.Priority)
	changed = be.weight.Load() != weight || be.priority.Load() != priority
	if changed {
		be.weight.Store(weight)
		be.priority.Store(priority)
	}
	return changed
}

// newBackend is called with mu held.
func (b *Balancer) newBackend(e *discovery.Endpoint) *Backend {
	be := &Backend{balancer: b, rank: b.hooks.Random(), generation: b.generation}
	be.endpoint.Store(e)
	if b.keyed != nil {
		be.seed = seedOf(e)
	}
	be.weight.Store(max(e.Weight, 1))
	be.priority.Store(uint32(e.Priority))
	be.flags.Store(unproven)
	if len(b.listed) > 0 && b.slowStart > 0 { // the first ones have nobody to leave the work to
		be.joined = b.hooks.Now()
		be.set(warming)
		b.counts.slowStarts.Add(1)
	}
	if b.hooks.ConnectFirst {
		be.set(unreachable)
	}
	be.conn = b.hooks.Connect(be)
	return be
}

// forget is called with mu held, for a backend that leaves.
func (b *Balancer) forget(be *Backend) {
	delete(b.backends, be.endpoint.Load().Identity())
	if be.unset(ejected) {
		b.ejected--
	}
}

// few is how many changes are made one by one. Each moves half of the list, but
// moving pointers is much faster than following them.
const few = 16

// merge returns the backends of this generation in this client's order: those
// that were there already and have not gone, and came. It is called with mu held.
func (b *Balancer) merge(came, gone []*Backend) []*Backend {
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
		if be.generation != b.generation {
			continue
		}
		for len(came) > 0 && byRank(came[0], be) < 0 {
			merged, came = append(merged, came[0]), came[1:]
		}
		merged = append(merged, be)
	}
	return append(merged, came...)
}
