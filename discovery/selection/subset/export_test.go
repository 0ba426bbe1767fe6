package subset

import "github.com/sidestep-lb/sidestep/discovery"

// All returns what Bounded returns to each of the peers, for the price of one:
// Bounded computes it for all and returns one.
func All(endpoints []discovery.Endpoint, peers []string, size int) map[string][]discovery.Endpoint {
	clients := inTurn(peers)
	all := make(map[string][]discovery.Endpoint, len(clients))
	for i, indexes := range assign(endpoints, clients, size) {
		all[clients[i].name] = pick(endpoints, indexes)
	}
	return all
}
