package main

import (
	"math"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
)

// Scenarios of ordinary life: pods come and go, requests differ, and now and then
// one fails. Their targets are for all of our policies that go by no key.

// oursEveryday are those of our policies that the targets are for.
func oursEveryday() []contestant {
	return []contestant{sidestep(balancer.Adaptive), sidestep(balancer.RoundRobin), sidestep(balancer.LeastRequest)}
}

func everyday() []contestant { return everybody(peers(), oursEveryday()) }

// patience is how long callers wait in most of these scenarios.
const patience = 2 * time.Second

// everydaySeeds is how often these scenarios are played at most, since there are
// many.
const everydaySeeds = 3

// busy is a service whose callers wait no longer than patience.
func busy(pods int, load float64, length time.Duration) setup {
	s := service(pods, load)
	s.deadline, s.length = patience, length
	s.watch = pods // the first one that joins
	return s
}

// forOurs makes a target for each of our policies.
func forOurs(targetOf func(k contestant) target) []target {
	var all []target
	for _, k := range oursEveryday() {
		t := targetOf(k)
		t.of = k.name
		all = append(all, t)
	}
	return all
}

// noErrors are the targets that no request fails.
func noErrors(column string) []target {
	return forOurs(func(contestant) target { return target{column: column, limit: constant(0)} })
}

// bestPeer is a limit in proportion to the best figure of a peer.
func bestPeer(factor float64, column string) limit {
	return func(t *table) float64 {
		best := math.NaN()
		for _, r := range t.rows {
			v := t.median(r.contestant.name, column)
			if !r.contestant.ours && r.contestant.name != oraclePeer.name && !(v >= best) {
				best = v
			}
		}
		return factor * best
	}
}

// likePeers are the targets that our other policies do as well as gRPC's of the
// same name.
func likePeers(factor float64, column string) []target {
	like := func(mine string, peer contestant) target {
		return target{
			of: sidestep(mine).name, column: column,
			bound: number(factor) + " × " + peer.name, limit: times(factor, peer.name, column),
		}
	}
	return []target{like(balancer.RoundRobin, roundRobinPeer), like(balancer.LeastRequest, leastRequestPeer)}
}

// aims are targets that it is no failure to miss.
func aims(targets []target) []target {
	for i := range targets {
		targets[i].aim = true
	}
	return targets
}
