package main

import (
	"cmp"
	"math/rand/v2"
	"slices"
)

// ringHash is gRPC's (gRFC A42): the server whose point on the ring follows the
// key's, whatever its load. All weights are equal, so each server has as many
// points as its share of the minimum ring size, rounded up.
type ringHash struct{ ring []ringPoint }

const a42MinRingSize = 1024

type ringPoint struct {
	hash   uint64
	server *server
}

func newRingHash(*world, *rand.Rand) policy { return &ringHash{} }

func (p *ringHash) update(servers []*server) {
	p.ring = nil
	points := (a42MinRingSize + len(servers) - 1) / len(servers)
	for _, s := range servers {
		for i := range points {
			p.ring = append(p.ring, ringPoint{scatter(scatter(uint64(s.id)) ^ uint64(i)), s})
		}
	}
	slices.SortFunc(p.ring, func(a, b ringPoint) int { return cmp.Compare(a.hash, b.hash) })
}

func (p *ringHash) pick(a *attempt) *server {
	i, _ := slices.BinarySearchFunc(p.ring, a.request.key, func(p ringPoint, key uint64) int { return cmp.Compare(p.hash, key) })
	return p.ring[i%len(p.ring)].server
}

func (p *ringHash) done(*attempt, outcome) {}

// scatter is the finalizer of splitmix64: a hash of numbers.
func scatter(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
