package main

import (
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
)

// The kinds of requests of the mixed scenarios, by their numbers.
const (
	fastCall = iota
	slowCall
	longPoll
	subscription
)

// mixedKinds are requests of which some hold no worker and are answered late, or
// not at all while the run lasts.
func mixedKinds() []kind {
	return []kind{
		fastCall:     {name: "fast", share: 0.989, demand: exponential(2 * time.Millisecond), class: scatter(fastCall)},
		slowCall:     {name: "slow", demand: fixed(200 * time.Millisecond), class: scatter(slowCall)},
		longPoll:     {name: "long poll", share: 0.01, demand: uniform(3*time.Second, 30*time.Second), deadline: noDeadline, class: scatter(longPoll), waits: true},
		subscription: {name: "subscription", share: 0.001, demand: fixed(5 * time.Minute), deadline: noDeadline, class: scatter(subscription), waits: true},
	}
}

// slowKinds are a fast and a slow method.
func slowKinds() []kind {
	kinds := mixedKinds()
	kinds[fastCall].share, kinds[slowCall].share = 0.95, 0.05
	kinds[longPoll].share, kinds[subscription].share = 0, 0
	return kinds
}

const (
	mixedPods = 3
	mixedEnds = 70 * time.Second
	hangs     = 20 * time.Second
)

// mixed is a set-up of requests of several kinds. There are few clients, so that
// each knows enough of each pod. Long polls are there from the start.
func mixed(kinds []kind) setup {
	return setup{
		servers: mixedPods, workers: 16, clients: 4, kinds: kinds, demand: exponential(2 * time.Millisecond),
		rate: steady(1600), deadline: time.Second, from: 10 * time.Second, length: mixedEnds,
	}
}

// subscribing is the set-up with a subscription of each client before anything
// else, so that a pod's first request is one.
func (s setup) subscribing() setup {
	return s.with(func(w *world) {
		w.after(0, func() {
			for _, c := range w.clients {
				c.send(w.newRequest(c, subscription))
			}
		})
	})
}

// hanging is the set-up with a pod that answers nothing from a moment on.
func (s setup) hanging() setup {
	return s.with(func(w *world) { w.after(hangs, func() { w.servers[0].hung = true }) })
}

// mixedLoad is mixed: requests that say little of a pod for others.
func mixedLoad() *scenario {
	s := &scenario{
		id: "mixed", title: "calls of 2 ms beside long polls of 3–30 s and subscriptions, or a method of 200 ms, 3 pods, 4 clients; shares in 10 s of one client's fast calls",
		contestants: everyday(), seeds: everydaySeeds,
	}
	for _, m := range []struct {
		name  string
		setup setup
	}{
		{"polls", mixed(mixedKinds()).subscribing()},
		{"slow", mixed(slowKinds())},
	} {
		s.fair(m.name, m.setup)
	}
	for _, m := range []struct {
		name  string
		setup setup
	}{
		{"polls, one hangs", mixed(mixedKinds()).hanging()},
		{"slow, one hangs", mixed(slowKinds()).hanging()},
	} {
		s.hang(m.name, m.setup)
	}
	s.joining("polls, one joins", mixed(mixedKinds()))
	return s
}

// fair adds a study in which pods are equal.
func (s *scenario) fair(name string, setup setup) {
	least, most, tail := name+": least share", name+": most share", name+": p99 ms"
	s.studies = append(s.studies, study{setup: setup, columns: []column{
		{least, ofFirstKind(leastShare(setup.from, setup.length, 10*time.Second)), neither},
		{most, ofFirstKind(mostShare(setup.from, setup.length, 10*time.Second)), neither},
		{tail, ofFirstKind(percentile(0.99)), less},
	}})
	// least_request keeps no time, so a long poll is a request in flight like any other.
	countsAll := func(k contestant) bool { return k.name == "sidestep "+balancer.LeastRequest }
	s.targets = append(s.targets, forOurs(func(k contestant) target {
		return target{column: least, limit: constant(0.8), least: true, aim: countsAll(k)}
	})...)
	s.targets = append(s.targets, forOurs(func(k contestant) target {
		return target{column: most, limit: constant(1.25), aim: countsAll(k)}
	})...)
	s.targets = append(s.targets, forOurs(func(contestant) target {
		return target{column: tail, bound: "1.05 × the best peer", limit: bestPeer(1.05, tail)}
	})...)
}

// hang adds a study in which one pod hangs.
func (s *scenario) hang(name string, setup setup) {
	errors, left := name+": errors %", name+": s until left"
	s.studies = append(s.studies, study{setup: setup, columns: []column{
		{errors, ofFirstKind(failuresBetween(hangs, mixedEnds)), less},
		{left, ofFirstKind(avoided(0, mixedPods, hangs)), less},
	}})
	s.targets = append(s.targets,
		target{column: errors, limit: constant(0.5)}, // as B6 has it for one of 3
		target{column: left, limit: constant(1)})
}

// joining adds a study in which one more pod comes while many long polls are
// sent, so that its first request is one.
func (s *scenario) joining(name string, setup setup) {
	const joins = 20 * time.Second
	const polls = 8 // of each client
	setup = setup.with(func(w *world) {
		w.after(joins, func() {
			w.join(nil)
			for _, c := range w.clients {
				for range polls {
					c.send(w.newRequest(c, longPoll))
				}
			}
		})
	})
	fair := name + ": s to 80 % of fair share"
	s.studies = append(s.studies, study{setup: setup, columns: []column{
		{fair, ofFirstKind(regained(mixedPods, mixedPods+1, joins)), less},
	}})
	s.targets = append(s.targets, forOurs(func(contestant) target { return target{column: fair, limit: constant(1)} })...)
}
