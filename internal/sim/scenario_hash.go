package main

import (
	"math"
	"math/rand/v2"
	"time"
)

// hotKey is B17: keys of which few are asked for often, by Zipf's law with an
// exponent of 1.1.
func hotKey() *scenario {
	const pods, workers, keys = 20, 64, 10_000
	const inFlight = workers / 2 // at a pod, on average, at half load
	popular := newZipf(keys, 1.1)
	s := setup{
		servers: pods, workers: workers, demand: exponential(20 * time.Millisecond), clients: 1,
		rate: steady(pods * inFlight * 50),
		key:  func(r *rand.Rand) uint64 { return scatter(uint64(popular.draw(r))) },
		from: 2 * time.Second, length: 12 * time.Second,
	}
	sc := &scenario{
		id: "B17", title: "10,000 keys by Zipf's law with exponent 1.1, 20 pods of 64 workers, 50 % load, 1 client, and one pod removed",
		contestants: everybody([]contestant{ringHashPeer}, oursByKey()),
		studies: []study{
			{setup: s, columns: []column{{"most requests / mean", peak, less}, {"p99 ms", percentile(0.99), less}}},
			{columns: []column{{title: "keys moved"}}, direct: func(k contestant, seed uint64) []float64 { return moved(s, k, seed, keys) }},
		},
	}
	for _, k := range oursByKey() {
		sc.targets = append(sc.targets,
			target{of: k.name, column: "most requests / mean", bound: "1.25, rounded up to whole requests", limit: constant(1.25 + 0.5/inFlight)},
			target{of: k.name, column: "keys moved", bound: "2/n", limit: constant(2.0 / pods)})
	}
	return sc
}

// moved returns the part of the keys that another server gets when one leaves.
func moved(s setup, k contestant, seed uint64, keys int) []float64 {
	w := newWorld(s, k, seed)
	p := w.clients[0].policy
	choose := func() []*server {
		chosen := make([]*server, keys)
		for key := range chosen {
			a := &attempt{request: &request{key: scatter(uint64(key) + seed<<32)}}
			a.server = p.pick(a)
			p.done(a, success)
			chosen[key] = a.server
		}
		return chosen
	}
	before := choose()
	gone := int(seed) % len(w.servers)
	p.update(append(append([]*server(nil), w.servers[:gone]...), w.servers[gone+1:]...))
	n := 0
	for key, s := range choose() {
		if s != before[key] {
			n++
		}
	}
	return []float64{float64(n) / float64(keys)}
}

// A zipf draws numbers from 0 on, the number i in proportion to 1/(i+1)^s.
type zipf struct{ below []float64 } // the probability of a smaller one or this

func newZipf(n int, s float64) zipf {
	below, sum := make([]float64, n), 0.0
	for i := range below {
		sum += math.Pow(float64(i+1), -s)
		below[i] = sum
	}
	for i := range below {
		below[i] /= sum
	}
	return zipf{below}
}

func (z zipf) draw(r *rand.Rand) int {
	u, low, high := r.Float64(), 0, len(z.below)-1
	for low < high {
		if mid := (low + high) / 2; z.below[mid] < u {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low
}
