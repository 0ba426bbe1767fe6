package main

import "time"

// retryStorm is B15: a capacity of 1000 rps at 70 % load meets 130 % for ten
// seconds. The queues grow beyond the patience of the callers, so that servers
// work for nobody, and retries keep it so after the trigger is gone.
func retryStorm() *scenario {
	const begins, ends = 20 * time.Second, 30 * time.Second
	s := setup{
		servers: 10, workers: 1, limit: 50, demand: exponential(10 * time.Millisecond), clients: 4,
		rate: func(at time.Duration) float64 {
			if at >= begins && at < ends {
				return 1300
			}
			return 700
		},
		deadline: time.Second, perTry: 250 * time.Millisecond, attempts: 3,
		from: ends, length: 60 * time.Second,
	}
	naive := func(k contestant) contestant {
		k.name += ", 3 attempts"
		return k
	}
	guard := budgeted(sidestep("adaptive"))
	return &scenario{
		id: "B15", title: "10 pods with a capacity of 1000 rps, load 70 %, 130 % for 10 s, 3 attempts of 250 ms in 1 s, 4 clients",
		contestants: []contestant{
			naive(roundRobinPeer), throttled(roundRobinPeer), naive(leastRequestPeer), throttled(leastRequestPeer),
			naive(peakEWMAPeer), naive(oraclePeer), naive(sidestep("adaptive")), guard,
		},
		studies: []study{{setup: s, columns: []column{
			{"s to >99 % after the trigger", settled(ends), less},
			{"errors % after it", failuresBetween(ends+5*time.Second, 60*time.Second), less},
			{"attempts / request", amplification, less},
		}}},
		targets: []target{
			{of: guard.name, column: "s to >99 % after the trigger", limit: constant(5)},
			{of: guard.name, column: "attempts / request", limit: constant(1.2)},
		},
	}
}
