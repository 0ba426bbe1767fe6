package main

import (
	"fmt"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
)

// oursWithoutEjection are our policies when they eject nobody: what ejection
// costs where no pod is worse than another is the difference.
func oursWithoutEjection() []contestant {
	var all []contestant
	for _, name := range []string{balancer.Adaptive, balancer.RoundRobin, balancer.LeastRequest} {
		all = append(all, configured(withoutEjection("sidestep "+name), balancer.Config{Policy: name, MaxEjectedPercent: -1}))
	}
	return all
}

func withoutEjection(name string) string { return name + ", no ejection" }

// shortProbe is for how long a pod may be out that is ejected and comes back with
// its first probe: a second, and the time until there is a request for it.
const shortProbe = 1500 * time.Millisecond

// uniformNoise is noise: all pods fail alike.
func uniformNoise() *scenario {
	s := &scenario{
		id: "noise", title: "5 pods of 4 workers and 40 ms that all fail some of their requests at random, 2 clients; good requests, the longest time that a pod gets nothing from a client, and the least share of one",
		contestants: everybody(peers(), []contestant{guarded(roundRobinPeer), guarded(leastRequestPeer)}, oursEveryday(), oursWithoutEjection()),
		seeds:       everydaySeeds,
	}
	for _, load := range []float64{0.6, 0.8} {
		for _, part := range []float64{0.01, 0.05, 0.1, 0.15} {
			noisy := busy(5, load/4, 110*time.Second).noisy(part, true)
			noisy.demand, noisy.clients = exponential(40*time.Millisecond), 2
			s.harmless(fmt.Sprintf("%.0f %% at %.0f %% load", 100*part, 100*load), noisy, ofGood(percentile(0.99)))
		}
	}
	for _, part := range []float64{0.02, 0.12} {
		noisy := busy(5, 0.7, 40*time.Second).noisy(part, false)
		s.harmless(fmt.Sprintf("%.0f %% in 1 ms, 10 clients", 100*part), noisy, ofGood(percentile(0.99)))
	}
	return s
}

// noisy is the set-up with pods that fail a part of the requests, after the time
// of an answer if they do so late.
func (s setup) noisy(part float64, late bool) setup {
	return s.with(func(w *world) {
		for _, s := range w.servers {
			s.failing, s.late = part, late
		}
	})
}

// impatience is impatient: callers that give a pod less time than its answer
// takes.
func impatience() *scenario {
	const patient, impatient = 0, 1
	s := &scenario{
		id: "impatient", title: "some of the requests have a deadline of 20 ms where an answer takes 60 ms, 3 pods, 3 clients; patient requests, the longest time that a pod gets nothing, and the least share of one",
		contestants: everybody(peers(), oursEveryday(), oursWithoutEjection()),
		seeds:       everydaySeeds,
	}
	for _, v := range []struct{ part, load float64 }{{0.25, 0.6}, {0.25, 0.8}, {0.15, 0.6}, {0.15, 0.8}} {
		const pods, workers, takes = 3, 4, 60 * time.Millisecond
		s.harmless(fmt.Sprintf("%.0f %% at %.0f %% load", 100*v.part, 100*v.load), setup{
			servers: pods, workers: workers, clients: 3, demand: uniform(50*time.Millisecond, 70*time.Millisecond),
			kinds: []kind{
				patient:   {name: "patient", share: 1 - v.part},
				impatient: {name: "impatient", share: v.part, deadline: 20 * time.Millisecond},
			},
			rate:     steady(v.load * pods * workers / takes.Seconds()),
			deadline: patience, from: 10 * time.Second, length: 110 * time.Second,
		}, ofFirstKind(percentile(0.99)))
	}
	return s
}

// harmless adds a study of pods that are all alike, in which ejection must do no
// harm to what tail measures.
func (s *scenario) harmless(name string, setup setup, tail figure) {
	p99, out, least := name+": p99 ms", name+": s out", name+": least share"
	s.studies = append(s.studies, study{setup: setup, columns: []column{
		{p99, tail, less},
		{out, longestGap, neither},
		{least, leastShare(setup.from, setup.length, setup.length-setup.from), neither},
	}})
	s.targets = append(s.targets, forOurs(func(k contestant) target {
		return target{column: p99, bound: "1.05 × without ejection", limit: times(1.05, withoutEjection(k.name), p99)}
	})...)
	s.targets = append(s.targets, forOurs(func(contestant) target {
		return target{column: out, limit: constant(shortProbe.Seconds())}
	})...)
	s.targets = append(s.targets, forOurs(func(contestant) target {
		return target{column: least, limit: constant(0.8), least: true}
	})...)
}
