package adapter

import (
	"cmp"
	"slices"
	"sync/atomic"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/discovery"
)

// keyed is what the policies ring_hash and maglev have in common. A table says
// which backend a key belongs to, and it is the same table in every client and
// after a restart: backends are hashed by the names of their pods, so that those
// of a StatefulSet keep their keys when they come back with another address, and
// by their addresses where the source knows no names.
//
// A backend that is unfit stays in the table and is passed over for the next
// one there, so that only its own keys move, to all the others, and come back
// with it. So is a backend that has its full share of the requests in flight:
// Config.BoundedLoad times the average, rounded up (arXiv:1608.01350). Hence
// one key that all ask for does not overload one backend.
type keyed struct {
	build func(p, old *plan) table // of p, by that of an old plan, if there is one
	bound float64
	plans map[uint32]*plan // by priority; used in calls of picker alone

	_        [64]byte     // a cache line of its own for
	inFlight atomic.Int64 // requests that are no streams, at all backends
}

const (
	defaultBoundedLoad = 1.25
	maxShare           = 128
)

func newKeyed(c *balancer.Config, build func(p, old *plan) table) *keyed {
	return &keyed{build: build, bound: cmp.Or(c.BoundedLoad, defaultBoundedLoad), plans: make(map[uint32]*plan)}
}

// A table is a circle of places, each of which a backend owns.
type table interface {
	// find returns the place of a key.
	find(key uint64) (place int)
	// at returns who owns a place, and the place after it.
	at(place int) (owner uint32, next int)
}

// A plan is a table of certain backends.
type plan struct {
	table    table
	owners   []*Backend // by seed
	shares   []uint64   // of owners, maxShare for the heaviest
	backends []*Backend // the same, as they came
	weights  []uint32   // of backends
}

// seedOf is where the places of an endpoint follow from.
func seedOf(e *discovery.Endpoint) uint64 {
	switch {
	case e.Pod != "":
		return balancer.HashKey(e.Pod)
	case e.Addr.IsValid():
		return balancer.HashKey(e.Addr.String())
	default:
		return balancer.HashKey(e.UID)
	}
}

// picker returns a picker among the usable ones of all backends of a level.
func (b *Balancer) picker(all, usable []*Backend) picker {
	if b.keyed != nil && len(all) > 0 {
		return b.keyed.picker(all, usable)
	}
	return b.policy.Picker(usable)
}

// count counts requests in flight, if the policy needs that.
func (b *Balancer) count(n int64, stream bool) {
	if b.keyed != nil && !stream {
		b.keyed.inFlight.Add(n)
	}
}

// chance draws a level: the same one for the same key.
func (r *Request) chance() uint32 {
	if r.HasKey {
		return uint32(r.Key)
	}
	return uint32(r.Random())
}

// Picker implements policy.
func (k *keyed) Picker(backends []*Backend) picker { return k.picker(backends, backends) }

// picker returns a picker among all backends, of which some are fit.
func (k *keyed) picker(all, fit []*Backend) picker {
	weight := 0.0
	for _, b := range fit {
		weight += float64(b.Weight())
	}
	priority := all[0].priority.Load()
	if old := k.plans[priority]; !old.serves(all) {
		k.plans[priority] = k.newPlan(all, old)
	}
	return &keyedPicker{plan: k.plans[priority], inFlight: &k.inFlight, room: k.bound / weight}
}

// serves reports whether the plan is the one for these backends.
func (p *plan) serves(all []*Backend) bool {
	if p == nil || !slices.Equal(p.backends, all) {
		return false
	}
	for i, b := range all {
		if b.Weight() != p.weights[i] {
			return false
		}
	}
	return true
}

func (k *keyed) newPlan(all []*Backend, old *plan) *plan {
	p := &plan{owners: slices.Clone(all), shares: make([]uint64, len(all)), backends: all, weights: make([]uint32, len(all))}
	heaviest := uint64(1)
	for i, b := range all {
		p.weights[i] = b.Weight()
		heaviest = max(heaviest, uint64(p.weights[i]))
	}
	slices.SortFunc(p.owners, bySeed)
	for i, b := range p.owners {
		b.number = uint32(i)
		p.shares[i] = min((maxShare*uint64(b.Weight())+heaviest-1)/heaviest, maxShare)
	}
	p.table = k.build(p, old)
	return p
}

// bySeed is an order that all clients agree on.
func bySeed(a, b *Backend) int {
	if a.seed != b.seed {
		return cmp.Compare(a.seed, b.seed)
	}
	return a.Endpoint().Addr.Compare(b.Endpoint().Addr)
}

type keyedPicker struct {
	*plan
	inFlight *atomic.Int64
	room     float64 // of a backend, in parts of inFlight, for each unit of its weight
}

// Pick implements picker.
func (p *keyedPicker) Pick(r Request) *Backend {
	key := r.Key
	if !r.HasKey {
		key = r.Random()
	}
	room := p.room * float64(p.inFlight.Load()+1)
	var home *Backend
	place := p.table.find(key)
	for range maxScan {
		owner, next := p.table.at(place)
		place = next
		b := p.owners[owner]
		if !r.Admits(b) {
			continue
		}
		if float64(b.bounded()) < room*float64(b.Weight()) {
			return b
		}
		if home == nil {
			home = b
		}
	}
	return home // there is nobody with more room near
}
