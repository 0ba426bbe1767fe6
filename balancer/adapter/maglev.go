package adapter

import (
	"math/bits"

	"github.com/sidestep-lb/sidestep/balancer"
)

// maglev is a table of Google's load balancer of that name (NSDI 2016): each
// backend has an order of its own of all places, and in turn, those with less
// weight more seldom, takes the first that is still free. Shares are as even as
// can be, unlike those of ring_hash. When a backend comes or goes, some keys
// move between others, too: among 100 backends, as many again as have to. The
// table is made anew for each change, in 3 ms for
// 1000 backends and 8 ms for 10,000.
type maglev []uint32 // owners, by place

// The numbers of places are primes, so that any step leads to all of them.
const (
	maglevPlaces     = 65_537
	manyMaglevPlaces = 655_373 // where there would be less than four for each
)

func newMaglev(c *balancer.Config, _ func() uint64) policy {
	return newKeyed(c, newMaglevTable)
}

func newMaglevTable(p, _ *plan) table {
	size := uint32(maglevPlaces)
	if uint32(len(p.owners)) > size/4 {
		size = manyMaglevPlaces
	}
	const free = 1<<32 - 1
	t := make(maglev, size)
	for i := range t {
		t[i] = free
	}
	type turn struct{ place, step, taken uint32 }
	turns := make([]turn, len(p.owners))
	for i, b := range p.owners {
		turns[i] = turn{place: scale(uint32(b.seed>>32), size), step: 1 + scale(uint32(b.seed), size-1)}
	}
	left := len(t)
	for round := uint64(1); ; round++ {
		for i := range turns {
			turn := &turns[i]
			if uint64(turn.taken)*maxShare >= round*p.shares[i] {
				continue
			}
			for t[turn.place] != free {
				turn.place += turn.step
				if turn.place >= size {
					turn.place -= size
				}
			}
			t[turn.place] = uint32(i)
			turn.taken++
			if left--; left == 0 {
				return t
			}
		}
	}
}

func (t maglev) find(key uint64) int {
	place, _ := bits.Mul64(key, uint64(len(t)))
	return int(place)
}

func (t maglev) at(place int) (owner uint32, next int) {
	next = place + 1
	if next == len(t) {
		next = 0
	}
	return t[place], next
}
