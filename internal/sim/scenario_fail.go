package main

import (
	"fmt"
	"time"
)

// fault is the moment at which pods begin to fail. The time from then on is
// measured.
const fault = 10 * time.Second

// faulty is a service at half load whose first pod changes at that moment.
func faulty(pods int, change func(s *server)) setup {
	s := service(pods, 0.5).with(func(w *world) { w.after(fault, func() { change(w.servers[0]) }) })
	s.deadline = time.Second
	return s
}

// retrying is faulty with two retries.
func (s setup) retrying() setup {
	s.attempts = 3
	return s
}

// fastFailure is B4.
func fastFailure() *scenario {
	failing := func(s *server) { s.failing = 1 }
	s := &scenario{
		id: "B4", title: "one pod fails all requests in 1 ms from 10 s on, 10 clients, 50 % load, 1 s deadline",
		contestants: everybody(guardedPeers(), ours(), []contestant{budgeted(sidestep("adaptive"))}),
	}
	for _, pods := range []int{10, 3} {
		once := faulty(pods, failing)
		again := once.retrying()
		errors, calmed, retried := of(pods, "errors %"), of(pods, "s to <1 %"), of(pods, "with 2 retries %")
		s.studies = append(s.studies,
			study{setup: once, columns: []column{{errors, failures, less}, {calmed, calm(fault), less}}},
			study{setup: again, columns: []column{{retried, failures, less}}})
		s.targets = append(s.targets,
			target{column: errors, limit: constant(map[int]float64{10: 0.1, 3: 0.3}[pods])},
			target{column: errors, bound: "1/50 × round_robin", limit: times(1.0/50, roundRobinPeer.name, errors)},
			target{column: errors, bound: "1/10 × round_robin + A50", limit: times(0.1, guarded(roundRobinPeer).name, errors)},
			target{column: calmed, limit: constant(1)},
			target{column: retried, of: budgeted(sidestep("adaptive")).name, limit: constant(0)})
	}
	return s
}

// halfFailure is B5. Breakers that count consecutive failures miss it.
func halfFailure() *scenario {
	s := &scenario{
		id: "B5", title: "one pod fails half its requests, in 1 ms, from 10 s on, 10 clients, 50 % load, 1 s deadline",
		contestants: everybody(guardedPeers(), ours()),
	}
	for _, pods := range []int{10, 3} {
		errors := of(pods, "errors %")
		s.studies = append(s.studies, study{
			setup:   faulty(pods, func(s *server) { s.failing = 0.5 }),
			columns: []column{{errors, failures, less}},
		})
		s.targets = append(s.targets, target{column: errors, limit: constant(1)})
	}
	return s
}

// blackHole is B6.
func blackHole() *scenario {
	s := &scenario{
		id: "B6", title: "one pod answers nothing from 10 s on, 10 clients, 50 % load, 1 s deadline",
		contestants: everybody(guardedPeers(), ours()),
	}
	for _, pods := range []int{10, 3} {
		errors, tail := of(pods, "errors %"), of(pods, "p99 ms")
		s.studies = append(s.studies, study{
			setup:   faulty(pods, func(s *server) { s.hung = true }),
			columns: []column{{errors, failures, less}, {tail, percentile(0.99), less}},
		})
		s.targets = append(s.targets,
			target{column: errors, limit: constant(map[int]float64{10: 0.1, 3: 0.5}[pods])},
			target{column: errors, bound: "1/20 × least_request", limit: times(1.0/20, leastRequestPeer.name, errors)})
	}
	return s
}

// of says which of the set-ups of a scenario a column belongs to.
func of(pods int, title string) string { return fmt.Sprintf("1 of %d: %s", pods, title) }
