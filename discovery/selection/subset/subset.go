// Package subset chooses, for one client of a very large service, the endpoints
// that this client connects to: so that 1,000 clients of 1,000 servers need
// 20,000 connections and not a million. It is pure but for [Chooser], and stable:
// a server or a client that comes or goes changes few of the choices, or none.
//
//	mine := subset.Rendezvous(endpoints, podName, 20)
//	mine = subset.Bounded(endpoints, subset.Peers(own), podName, 20)
//
// [Rendezvous] needs to know nothing of the other clients, and leaves the
// balance between servers to chance: with few clients or small subsets some have
// three times the mean, others no client at all. [Bounded] knows the other
// clients and lets no server have more than 1.25 times the mean, for a little
// more change.
//
// A [Chooser] does all of that for a client, and keeps it up to date.
//
// A name has to be a client's own for as long as it lives, like that of a pod;
// clients that share a name share a subset.
//
// It is not for services of some dozens of endpoints: connect to all of those. It
// does not count requests: that servers have the same number of clients evens
// out their load as far as the clients are alike. And it knows nothing of
// health: a subset should be large enough, 20 say, to lose some and go on.
package subset

import (
	"slices"

	"github.com/sidestep-lb/sidestep/discovery"
)

// Rendezvous returns the size endpoints that rank highest for the client, by
// rendezvous hashing of its name with their addresses and UIDs, in the order of
// endpoints. It returns all of them if size is 0 or covers them. When an endpoint
// comes or goes, at most one other of the subset changes.
func Rendezvous(endpoints []discovery.Endpoint, client string, size int) []discovery.Endpoint {
	if size <= 0 || len(endpoints) <= size {
		return endpoints
	}
	return pick(endpoints, rendezvous(endpoints, client, size))
}

// rendezvous returns the indexes of what Rendezvous chooses.
func rendezvous(endpoints []discovery.Endpoint, client string, size int) []int {
	ranks := newRanking(clientHash(client), endpointHashes(endpoints), size)
	indexes := make([]int, size)
	for i := range indexes {
		indexes[i], _ = ranks.next()
	}
	return indexes
}

// pick returns the endpoints with the given indexes, which it sorts.
func pick(endpoints []discovery.Endpoint, indexes []int) []discovery.Endpoint {
	slices.Sort(indexes)
	picked := make([]discovery.Endpoint, len(indexes))
	for i, index := range indexes {
		picked[i] = endpoints[index]
	}
	return picked
}
