package main

import (
	"math/rand/v2"
	"slices"

	"github.com/sidestep-lb/sidestep/balancer"
)

// A contestant is a policy that takes part, and what comes with it.
type contestant struct {
	name   string
	ours   bool
	policy func(*world, *rand.Rand) policy // one for each client
	budget func(*world) budget             // of retries, one for each client; nil for none
	subset subsetting                      // instead of a policy, in B14
}

// The peers, each implemented from its formula.
var (
	roundRobinPeer   = contestant{name: "grpc round_robin", policy: newRoundRobin}
	leastRequestPeer = contestant{name: "grpc least_request", policy: newLeastRequest}
	weightedPeer     = contestant{name: "grpc weighted_round_robin", policy: newWeightedRoundRobin}
	ringHashPeer     = contestant{name: "grpc ring_hash", policy: newRingHash}
	p2cPeer          = contestant{name: "finagle p2c", policy: newP2C}
	peakEWMAPeer     = contestant{name: "finagle peak_ewma", policy: newPeakEWMA}
	oraclePeer       = contestant{name: "oracle", policy: newOracle}
)

// peers are those of all scenarios.
func peers() []contestant {
	return []contestant{roundRobinPeer, leastRequestPeer, p2cPeer, peakEWMAPeer, oraclePeer}
}

// guardedPeers are peers with outlier detection beside them, for scenarios in
// which requests fail. Elsewhere it would never act.
func guardedPeers() []contestant {
	var all []contestant
	for _, p := range peers() {
		all = append(all, p)
		if p.name != oraclePeer.name {
			all = append(all, guarded(p))
		}
	}
	return all
}

// guarded is a peer with gRPC's outlier detection.
func guarded(p contestant) contestant {
	p.name += " + A50"
	p.policy = withOutlierDetection(p.policy)
	return p
}

// adaptive is our default policy, which targets are for if they name no other.
const adaptive = "sidestep adaptive"

// ours are all our policies, but for those that go by keys.
func ours() []contestant {
	all := []contestant{sidestep(balancer.Adaptive)}
	for _, name := range balancer.Policies() {
		if name != balancer.Adaptive && !slices.Contains(keyed, name) {
			all = append(all, sidestep(name))
		}
	}
	return all
}

// oursByKey are those that do.
func oursByKey() []contestant {
	var all []contestant
	for _, name := range balancer.Policies() {
		if slices.Contains(keyed, name) {
			all = append(all, sidestep(name))
		}
	}
	return all
}

var keyed = []string{"maglev", "ring_hash"}
