package main

import (
	"math"
	"math/rand/v2"
	"time"
)

// overload is B11, after the test bed of Prequal (NSDI'24): 100 clients of 100
// servers, requests of very different cost, and a load that is raised from three
// quarters of what the servers have been promised to far beyond. A server may use
// twice its allocation, but for a fifth of them, whose neighbours leave them no
// more than that; their own reports do not show it.
func overload() *scenario {
	const stepLength, steps = 10 * time.Second, 9
	const mean, workers, allocated = 100 * time.Millisecond, 4, 0.5
	allocation := 100 * workers / mean.Seconds() * allocated
	load := func(at time.Duration) float64 {
		return 0.75 * math.Pow(10.0/9, float64(min(at/stepLength, steps-1)))
	}
	s := setup{
		servers: 100, workers: workers, clients: 100,
		demand:   demand{mean, positiveNormal},
		rate:     func(at time.Duration) float64 { return allocation * load(at) },
		deadline: 5 * time.Second,
		length:   steps * stepLength,
	}.with(func(w *world) {
		for _, s := range w.servers[:20] {
			s.slow, s.starved = always(1/allocated), true
		}
	})
	// 0.75, 0.83, 0.93 | 1.03, 1.14, 1.27 | 1.41, 1.57, 1.74 times the allocation
	first, second, third := 3*stepLength, 6*stepLength, steps*stepLength
	const within, beyond, most = "p99 ms to 0.93×", "p99 ms 1.03–1.27×", "p99 ms 1.41–1.74×"
	const lost, lostMost = "errors % 1.03–1.27×", "errors % 1.41–1.74×"
	return &scenario{
		id: "B11", title: "100 clients of 100 pods, 20 of which get half the CPU, load rising from 0.75 to 1.74 times the allocation, 5 s deadline (Prequal)",
		contestants: everybody(peers(), []contestant{weightedPeer}, ours()),
		studies: []study{{setup: s, columns: []column{
			{within, percentileBetween(0.99, 0, first), less},
			{beyond, percentileBetween(0.99, first, second), less},
			{most, percentileBetween(0.99, second, third), less},
			{lost, failuresBetween(first, second), less},
			{lostMost, failuresBetween(second, third), less},
		}}},
		targets: []target{
			{column: beyond, bound: "0.4 × least_request", limit: times(0.4, leastRequestPeer.name, beyond)},
			{column: lost, bound: "1/10 × weighted_round_robin", limit: times(0.1, weightedPeer.name, lost)},
		},
	}
}

// positiveNormal draws from a normal distribution whose deviation is its mean,
// with what is below zero cut off, in units of the mean of what remains.
func positiveNormal(r *rand.Rand) float64 {
	const remaining = 1.2876 // the mean of max-zero draws is φ(1)/Φ(1) above 1
	for {
		if x := 1 + r.NormFloat64(); x > 0 {
			return x / remaining
		}
	}
}

// herd is B12: a client knows next to nothing, because it has less than one
// request in flight at each pod.
func herd() *scenario {
	s := service(20, 0.8)
	s.clients = 200
	return &scenario{
		id: "B12", title: "200 clients of 20 pods, 80 % load",
		contestants: everybody(peers(), ours()),
		studies:     []study{{setup: s, columns: []column{{"p99 ms", percentile(0.99), less}, {"most requests / mean", peak, less}}}},
		targets: []target{
			{column: "p99 ms", bound: "1.03 × round_robin", limit: times(1.03, roundRobinPeer.name, "p99 ms")},
			{column: "most requests / mean", bound: "1.03 × round_robin", limit: times(1.03, roundRobinPeer.name, "most requests / mean")},
		},
	}
}
