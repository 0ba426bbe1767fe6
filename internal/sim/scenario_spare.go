package main

import (
	"slices"
	"time"
)

// asked is how long servers ask to be left alone in these scenarios.
const asked = 30 * time.Second

// spareUs is RA: pods whose queue is full answer 503 with a Retry-After, though
// the others could not carry what they would be spared.
func spareUs() *scenario {
	const pods, queue = 3, 4
	const bursts, ends, after = 20 * time.Second, 22 * time.Second, 25 * time.Second
	s := busy(pods, 0.53, 60*time.Second)
	s.limit = queue
	usual := s.rate(0)
	s.rate = func(at time.Duration) float64 {
		if at >= bursts && at < ends {
			return 1.5 / 0.53 * usual
		}
		return usual
	}
	full := s.with(func(w *world) {
		for _, s := range w.servers {
			s.spare = asked
		}
	})
	const errors, tail, least = "errors % from 25 s on", "p99 ms", "least share"
	return &scenario{
		id: "RA", title: "3 pods with a queue of 4 that answer 503 with Retry-After 30 s when it is full, 10 clients, 53 % load and 150 % from 20 to 22 s, 2 s deadline",
		contestants: everyday(), seeds: everydaySeeds,
		studies: []study{{setup: full, columns: []column{
			{errors, failuresBetween(after, s.length), less},
			{tail, ofGood(percentileBetween(0.99, after, s.length)), less},
			{least, leastShare(after, s.length, s.length-after), neither},
		}}},
		// One of the pods may be spared, so that the p99 is that of 80 % load.
		targets: append([]target{
			{column: errors, bound: "1.15 × grpc least_request", limit: times(1.15, leastRequestPeer.name, errors)},
			{column: tail, bound: "1.2 × the best peer", limit: bestPeer(1.2, tail)},
		}, append(aims(likePeers(1.15, errors)), likePeers(1.2, tail)...)...), // to spare a pod that asks for it loads the others
	}
}

// tooMany is RA429: one caller of ten has sent too many and is told so by
// whatever pod it asks. That says nothing of the pods.
func tooMany() *scenario {
	const ordinary, greedy = 0, 1
	s := busy(3, 0.53, 60*time.Second)
	s.kinds = []kind{ordinary: {name: "ordinary", share: 0.9}, greedy: {name: "greedy", share: 0.1, limited: asked}}
	alike := s
	alike.kinds = nil
	alike.rate = steady(0.9 * s.rate(0))
	const errors, tail, out, least, calm = "errors %", "p99 ms", "s out", "least share", "p99 ms without the caller"
	return &scenario{
		id: "RA429", title: "one caller of ten gets 429 with Retry-After 30 s, 3 pods, 10 clients, 53 % load, 2 s deadline; the other callers, the longest time that a pod gets nothing from a client, and the least share of one",
		contestants: everyday(), seeds: everydaySeeds,
		studies: []study{
			{setup: s, columns: []column{
				{errors, ofFirstKind(failures), less},
				{tail, ofFirstKind(percentile(0.99)), less},
				{out, ofFirstKind(longestGap), neither},
				{least, ofFirstKind(leastShare(s.from, s.length, s.length-s.from)), neither},
			}},
			{setup: alike, columns: []column{{calm, percentile(0.99), neither}}},
		},
		targets: slices.Concat(noErrors(errors),
			forOurs(func(k contestant) target {
				return target{column: tail, bound: "1.05 × without the caller", limit: times(1.05, k.name, calm)}
			}),
			forOurs(func(k contestant) target { // adaptive leaves a pod for as long without the caller, too
				return target{column: out, limit: constant(shortProbe.Seconds()), aim: k.name == adaptive}
			}),
			forOurs(func(contestant) target { return target{column: least, limit: constant(0.8), least: true} })),
	}
}
