package main

import (
	"math/rand/v2"
	"time"
)

// slowReplica is B1, the experiment that Linkerd published in 2016: one of 11
// pods takes 2 s instead of 167 ms for half a minute.
func slowReplica() *scenario {
	healthy := setup{
		servers: 11, workers: 100_000, clients: 1,
		demand: demand{167 * time.Millisecond, func(r *rand.Rand) float64 { return 1 + r.NormFloat64()*5/167 }},
		rate:   steady(1000),
		length: 60 * time.Second,
	}
	slow := healthy.with(func(w *world) {
		w.servers[0].slow = between(15*time.Second, 45*time.Second, 2000.0/167)
	})
	return &scenario{
		id: "B1", title: "one of 11 pods takes 2 s instead of 167 ms, 15–45 s of 60 s, 1000 rps, 1 client (Linkerd 2016)",
		contestants: everybody(peers(), ours()),
		studies: []study{
			{setup: slow, columns: []column{{"in 1 s %", within(time.Second), more}, {"p99.9 ms", percentile(0.999), less}}},
			{setup: healthy, columns: []column{{"healthy p99.9 ms", percentile(0.999), neither}}},
		},
		targets: []target{
			{column: "in 1 s %", limit: constant(99.9), least: true},
			{column: "p99.9 ms", bound: "1.2 × healthy", limit: times(1.2, adaptive, "healthy p99.9 ms")},
		},
	}
}

// heterogeneous is B2.
func heterogeneous() *scenario {
	at := func(load float64) setup {
		s := service(20, load*0.75) // ten pods do the work of five
		return s.with(func(w *world) {
			for _, s := range w.servers[:10] {
				s.slow = always(2)
			}
		})
	}
	return &scenario{
		id: "B2", title: "10 of 20 pods are half as fast, 10 clients, 70 and 90 % load",
		contestants: everybody(peers(), []contestant{weightedPeer}, ours()),
		studies: []study{
			{setup: at(0.7), columns: []column{{"p99 ms at 70 %", percentile(0.99), less}}},
			{setup: at(0.9), columns: []column{{"p99 ms at 90 %", percentile(0.99), less}}},
		},
		targets: []target{
			{column: "p99 ms at 70 %", bound: "0.10 × round_robin", limit: times(0.1, roundRobinPeer.name, "p99 ms at 70 %")},
			{column: "p99 ms at 70 %", bound: "0.75 × least_request", limit: times(0.75, leastRequestPeer.name, "p99 ms at 70 %")},
			{column: "p99 ms at 90 %", bound: "0.60 × least_request", limit: times(0.6, leastRequestPeer.name, "p99 ms at 90 %")},
		},
	}
}

// onePodSlow is B3.
func onePodSlow() *scenario {
	healthy := service(20, 0.25)
	slow := healthy.with(func(w *world) { w.servers[0].slow = always(10) })
	return &scenario{
		id: "B3", title: "one of 20 pods is 10 times slower, 10 clients, 25 % load",
		contestants: everybody(peers(), ours()),
		studies: []study{
			{setup: slow, columns: []column{{"p99 ms", percentile(0.99), less}, {"p99.9 ms", percentile(0.999), less}}},
			{setup: healthy, columns: []column{{"healthy p99 ms", percentile(0.99), neither}}},
		},
		targets: []target{
			{column: "p99 ms", bound: "1.05 × healthy", limit: times(1.05, adaptive, "healthy p99 ms")},
			{column: "p99 ms", bound: "0.5 × least_request", limit: times(0.5, leastRequestPeer.name, "p99 ms")},
			{column: "p99.9 ms", bound: "0.35 × least_request", limit: times(0.35, leastRequestPeer.name, "p99.9 ms")},
		},
	}
}

// garbageCollection is B7. The pods begin their rounds at random moments.
func garbageCollection() *scenario {
	const every, pause = 10 * time.Second, 300 * time.Millisecond
	paused := service(20, 0.4).with(func(w *world) {
		random := w.stream(streamStory)
		for _, s := range w.servers {
			var again func()
			again = func() {
				s.pause(pause)
				w.after(every, again)
			}
			w.after(time.Duration(random.Float64()*float64(every)), again)
		}
	})
	return &scenario{
		id: "B7", title: "20 pods, each of which pauses for 300 ms every 10 s, 10 clients, 40 % load",
		contestants: everybody(peers(), ours()),
		studies:     []study{{setup: paused, columns: []column{{"p99 ms", percentile(0.99), less}, {"p99.9 ms", percentile(0.999), less}}}},
		targets: []target{
			{column: "p99 ms", bound: "p2c", limit: times(1, p2cPeer.name, "p99 ms")},
			{column: "p99 ms", bound: "0.25 × round_robin", limit: times(0.25, roundRobinPeer.name, "p99 ms")},
			{column: "p99 ms", bound: "0.25 × peak_ewma", limit: times(0.25, peakEWMAPeer.name, "p99 ms")},
		},
	}
}

// coldPod is B8: a pod more than there were, eight times slower at first and
// warm after 20 s.
func coldPod() *scenario {
	const pods, joins, warm = 10, 10 * time.Second, 30 * time.Second
	without := service(pods, 0.7)
	joined := without.with(func(w *world) {
		w.after(joins, func() {
			w.join(func(now time.Duration) float64 { return 1 + 7*max(0, (warm-now).Seconds()/(warm-joins).Seconds()) })
		})
	})
	joined.watch = pods
	return &scenario{
		id: "B8", title: "a pod joins 10 at 10 s, 8 times slower at first and warm at 30 s, 10 clients, 70 % load; latency while it warms up",
		contestants: everybody(peers(), ours()),
		studies: []study{
			{setup: joined, columns: []column{
				{"p99 ms", percentileBetween(0.99, joins, warm), less},
				{"p99.9 ms", percentileBetween(0.999, joins, warm), less},
				{"s to 80 % of fair share, once warm", regained(pods, pods+1, warm), less},
			}},
			{setup: without, columns: []column{{"p99 ms without", percentileBetween(0.99, joins, warm), neither}}},
		},
		targets: []target{
			// Not the p99: there, even the oracle has more than 0.25 × least_request.
			{column: "p99.9 ms", bound: "0.25 × least_request", limit: times(0.25, leastRequestPeer.name, "p99.9 ms")},
			{column: "p99 ms", bound: "1.05 × without", limit: times(1.05, adaptive, "p99 ms without")},
			{column: "s to 80 % of fair share, once warm", limit: constant(10)},
		},
	}
}

// recovery is B16: B3's slow pod heals at 30 s.
func recovery() *scenario {
	const heals = 30 * time.Second
	healing := service(20, 0.25).with(func(w *world) { w.servers[0].slow = between(0, heals, 10) })
	return &scenario{
		id: "B16", title: "the pod of B3 heals at 30 s",
		contestants: everybody(peers(), ours()),
		studies:     []study{{setup: healing, columns: []column{{"s to 80 % of fair share", regained(0, 20, heals), less}}}},
		targets: []target{
			{column: "s to 80 % of fair share", limit: constant(6)},
		},
	}
}
