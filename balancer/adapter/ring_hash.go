package adapter

import (
	"math/bits"

	"github.com/sidestep-lb/sidestep/balancer"
)

// ring_hash puts each backend on a circle at 128 points, fewer for those that
// weigh less, and a key belongs to the point that follows it. A backend that
// comes takes keys from all others and moves no other key; one that goes gives
// its keys to all others.
//
// The number of points is the same whatever the number of backends, so that
// shares stay within about 10 % (one σ) of fair. gRFC A42 has 4096 points at
// most for all of them together, which for a thousand backends is four each.
// The price is 1.1 KB a backend. A change costs 1 to 2 ms among 1000 backends, and
// some 15 ms among 10,000.
type ring struct {
	points []uint64 // sorted: the place on the circle, with the owner in the low bits
	starts []uint32 // in points, of each of the equal arcs that the circle is cut into
	shift  int      // turns a place into the number of its arc
}

const (
	pointOwnerBits = 20
	pointOwner     = 1<<pointOwnerBits - 1
	gone           = 1 << pointOwnerBits // the number of an owner that is not there any more
)

func newRingHash(c *balancer.Config, _ func() uint64) policy {
	return newKeyed(c, newRing)
}

func newRing(p, old *plan) table {
	// What stays is in order already, so a change costs a walk along the circle,
	// and no sorting.
	var had []uint64
	if old != nil {
		had = old.table.(*ring).points
	}
	number, came := p.compare(old)
	points := make([]uint64, 0, len(had)+len(came))
	for _, point := range had {
		owner := number[point&pointOwner]
		if owner == gone {
			continue
		}
		point = point&^pointOwner | owner
		for len(came) > 0 && came[0] < point {
			points, came = append(points, came[0]), came[1:]
		}
		points = append(points, point)
	}
	points = append(points, came...)

	arcs := arcBits(len(points))
	r := &ring{points: points, starts: make([]uint32, 1<<arcs), shift: 64 - arcs}
	next := len(points)
	for arc := len(r.starts) - 1; arc >= 0; arc-- {
		for next > 0 && points[next-1]>>r.shift >= uint64(arc) {
			next--
		}
		r.starts[arc] = uint32(next)
	}
	return r
}

// compare returns the number that each owner of the old plan has in p, or gone,
// and the points of the other owners of p, sorted.
func (p *plan) compare(old *plan) (number, came []uint64) {
	stays := make([]bool, len(p.owners))
	if old != nil {
		number = make([]uint64, len(old.owners))
		for k, b := range old.owners {
			i := int(b.number)
			if i < len(p.owners) && p.owners[i] == b && p.shares[i] == old.shares[k] {
				number[k], stays[i] = uint64(i), true
			} else {
				number[k] = gone
			}
		}
	} else {
		came = make([]uint64, 0, maxShare*len(p.owners))
	}
	for i, b := range p.owners {
		for k := range p.shares[i] {
			if !stays[i] {
				came = append(came, mix(b.seed+k*golden64)&^pointOwner|uint64(i)&pointOwner)
			}
		}
	}
	return number, sorted(came)
}

// arcBits is the logarithm of the number of arcs: they have four to eight points.
func arcBits(points int) int { return max(bits.Len(uint(points))-3, 0) }

// sorted sorts random points: first into arcs, by counting, and then there are
// few to swap.
func sorted(points []uint64) []uint64 {
	arcs := arcBits(len(points))
	shift := 64 - arcs
	ends := make([]int, 1<<arcs)
	for _, point := range points {
		ends[point>>shift]++
	}
	end := 0
	for i, n := range ends {
		end += n
		ends[i] = end
	}
	sorted := make([]uint64, len(points))
	for _, point := range points {
		at := &ends[point>>shift]
		*at--
		sorted[*at] = point
	}
	for i, point := range sorted {
		for ; i > 0 && sorted[i-1] > point; i-- {
			sorted[i] = sorted[i-1]
		}
		sorted[i] = point
	}
	return sorted
}

func (r *ring) find(key uint64) int {
	i := int(r.starts[key>>r.shift])
	for i < len(r.points) && r.points[i] < key&^pointOwner {
		i++
	}
	if i == len(r.points) {
		return 0
	}
	return i
}

func (r *ring) at(place int) (owner uint32, next int) {
	next = place + 1
	if next == len(r.points) {
		next = 0
	}
	return uint32(r.points[place] & pointOwner), next
}
