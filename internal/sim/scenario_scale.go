package main

import "time"

// scales is when pods are added or taken away.
const scales = 20 * time.Second

// scaled is a service that has another number of pods from a moment on.
func scaled(from, to int, load float64) setup {
	return busy(from, load, 60*time.Second).with(func(w *world) {
		w.after(scales, func() {
			if to < from {
				w.change(0, nil, w.listed[to:])
			} else {
				w.change(to-from, nil, nil)
			}
		})
	})
}

// relief is X7: help comes to a service that drowns.
func relief() *scenario {
	const errors, calmed = "errors % from 20 s on", "s to <1 %"
	return &scenario{
		id: "X7", title: "3 pods at 1.5 times what they can do, 3 more join at 20 s, 10 clients, 2 s deadline",
		contestants: everyday(), seeds: everydaySeeds,
		studies: []study{{setup: scaled(3, 6, 1.5), columns: []column{
			{errors, failuresBetween(scales, 60*time.Second), less},
			{calmed, settled(scales), less},
		}}},
		targets: append([]target{
			{column: errors, bound: "the best peer", limit: bestPeer(1, errors)},
			{column: calmed, limit: constant(14), aim: true}, // the best peer takes 14.9 s
		}, aims(likePeers(1.05, errors))...), // least_request ejects pods that are late before it knows that the others are at their limit
	}
}

// scaleUp is U: one pod becomes ten.
func scaleUp() *scenario {
	const errors, calmed, tail = "150 %: errors % from 20 s on", "150 %: s to <1 %", "60 %: p99 ms from 20 s on"
	return &scenario{
		id: "U", title: "1 pod becomes 10 at 20 s, at 1.5 times what the one can do and at 60 %, 10 clients, 2 s deadline",
		contestants: everyday(), seeds: everydaySeeds,
		studies: []study{
			{setup: scaled(1, 10, 1.5), columns: []column{
				{errors, failuresBetween(scales, 60*time.Second), less},
				{calmed, settled(scales), less},
			}},
			{setup: scaled(1, 10, 0.6), columns: []column{{tail, percentileBetween(0.99, scales, 60*time.Second), less}}},
		},
		targets: append([]target{
			{column: errors, limit: constant(0.1), aim: true}, // what is over it are probes of the pod that drowns
			{column: calmed, limit: constant(2), aim: true},
			{column: tail, bound: "1.05 × the best peer", limit: bestPeer(1.05, tail)},
		}, append(likePeers(1.05, errors), likePeers(1.05, tail)...)...),
	}
}

// scaleDown is D: half of the pods leave.
func scaleDown() *scenario {
	const tail, errors, few = "p99 ms from 20 s on", "errors %", "p99 ms with 5 from the start"
	return &scenario{
		id: "D", title: "5 of 10 pods leave at 20 s, 10 clients, 40 % load, 2 s deadline",
		contestants: everyday(), seeds: everydaySeeds,
		studies: []study{
			{setup: scaled(10, 5, 0.4), columns: []column{
				{tail, percentileBetween(0.99, scales, 60*time.Second), less},
				{errors, failuresBetween(scales, 60*time.Second), less},
			}},
			{setup: busy(5, 0.8, 60*time.Second), columns: []column{{few, percentileBetween(0.99, scales, 60*time.Second), neither}}},
		},
		targets: append(forOurs(func(k contestant) target {
			return target{column: tail, bound: "1.05 × with 5 from the start", limit: times(1.05, k.name, few)}
		}), noErrors(errors)...),
	}
}

// crashLoop is L: a pod that crashes 3 s after it is ready, again and again. It
// stays on the list for half a second, and comes back 10 s after it crashed,
// then 20 s and 40 s, as the kubelet has it. Each time it is a new server here.
func crashLoop() *scenario {
	const pods, lives, listed, backOff = 5, 3 * time.Second, 500 * time.Millisecond, 10 * time.Second
	looping := busy(pods, 0.6, 120*time.Second).with(func(w *world) {
		var live func(s *server, wait time.Duration)
		live = func(s *server, wait time.Duration) {
			crash := time.Duration(w.now) + lives
			w.crashAt(crash, s)
			w.at(int64(crash+listed), func() { w.change(0, nil, []*server{s}) })
			w.at(int64(crash+wait), func() {
				w.change(1, nil, nil)
				live(w.listed[len(w.listed)-1], 2*wait)
			})
		}
		w.after(scales, func() { live(w.servers[0], backOff) })
	})
	const tail, errors, few = "p99 ms", "errors %", "p99 ms with 4 from the start"
	return &scenario{
		id: "L", title: "one of 5 pods crashes 3 s after each start and comes back after 10, 20 and 40 s, 10 clients, 60 % load, 2 s deadline",
		contestants: everyday(), seeds: everydaySeeds,
		studies: []study{
			{setup: looping, columns: []column{
				{tail, percentileBetween(0.99, scales, 120*time.Second), less},
				{errors, failuresBetween(scales, 120*time.Second), less},
			}},
			{setup: busy(4, 0.75, 120*time.Second), columns: []column{{few, percentileBetween(0.99, scales, 120*time.Second), neither}}},
		},
		targets: append(
			forOurs(func(k contestant) target {
				return target{column: tail, bound: "1.05 × with 4 from the start", limit: times(1.05, k.name, few)}
			}),
			forOurs(func(contestant) target {
				return target{column: errors, bound: "2 × the best peer", limit: bestPeer(2, errors)} // a few requests
			})...),
	}
}
