package subset

import (
	"cmp"
	"slices"
	"strings"

	"github.com/sidestep-lb/sidestep/discovery"
)

// Bounded returns size of the endpoints for the client, like [Rendezvous], but
// so that no endpoint has more than its share of clients: 1.25 times the mean,
// rounded up. It returns all of them if size is 0 or covers them, and otherwise
// exactly size, in the order of endpoints.
//
// Peers are the names of all clients that choose from the same endpoints, the
// client itself among them; see [Peers]. Each of them computes the choices of
// all, so they agree as long as they know the same peers and endpoints, in
// whatever order. While they do not, for moments during a rollout, the bound is
// approximate. If the client is not among the peers, the choice is that of
// Rendezvous.
//
// The rule is rendezvous hashing with bounded loads (arXiv:1608.01350): in as
// many rounds as a subset has endpoints the clients take turns, in the order of
// their hashes, and each takes the endpoint that ranks highest for it among
// those that it does not have yet and that are not full.
//
// The time goes with the number of peers times that of endpoints: about 1 ms for
// 300 of each, 25 ms for 1,000 peers and 10,000 endpoints.
func Bounded(endpoints []discovery.Endpoint, peers []string, client string, size int) []discovery.Endpoint {
	if size <= 0 || len(endpoints) <= size {
		return endpoints
	}
	return pick(endpoints, bounded(endpoints, peers, client, size))
}

// bounded returns the indexes of what Bounded chooses.
func bounded(endpoints []discovery.Endpoint, peers []string, client string, size int) []int {
	clients := inTurn(peers)
	me := slices.IndexFunc(clients, func(p *peer) bool { return p.name == client })
	if me < 0 || capacity(len(clients), len(endpoints), size) >= len(clients) {
		return rendezvous(endpoints, client, size)
	}
	return assign(endpoints, clients, size)[me]
}

// Peers returns the peers of [Bounded] out of the endpoints of the Service that
// the client itself belongs to: the names of their pods. Pods that are not ready
// or terminating count, too. They have connections like the others, and one that
// was no peer any more would exchange its own while it drains.
//
// If topology hints divide the target among zones, the peers are those in the
// client's zone.
func Peers(endpoints []discovery.Endpoint) []string { return peersIn("", endpoints) }

// peersIn returns the peers in a zone, or in all of them if that is empty.
func peersIn(zone string, endpoints []discovery.Endpoint) []string {
	var peers []string
	for i := range endpoints {
		if e := &endpoints[i]; e.Pod != "" && (zone == "" || e.Zone == zone) {
			peers = append(peers, e.Pod)
		}
	}
	return peers
}

// capacity is how many clients an endpoint may have: ceil(1.25 × the mean), in
// whole numbers so that all clients round alike. With less room above the mean,
// more choices would depend on those of others, and change with them.
func capacity(clients, endpoints, size int) int {
	above, below := 5*int64(clients)*int64(size), 4*int64(endpoints)
	return int((above + below - 1) / below)
}

type peer struct {
	name string
	hash uint64
}

// inTurn returns the peers, each once, in the order in which they take turns.
// They are pointers because all programs have the sorting for those.
func inTurn(names []string) []*peer {
	peers := make([]*peer, len(names))
	for i, name := range names {
		peers[i] = &peer{name, clientHash(name)}
	}
	slices.SortFunc(peers, func(a, b *peer) int {
		return cmp.Or(cmp.Compare(a.hash, b.hash), strings.Compare(a.name, b.name))
	})
	return slices.CompactFunc(peers, func(a, b *peer) bool { return a.name == b.name })
}

// assign returns the indexes of the endpoints that each of the peers chooses.
func assign(endpoints []discovery.Endpoint, peers []*peer, size int) [][]int {
	hashes := endpointHashes(endpoints)
	limit := capacity(len(peers), len(endpoints), size)
	rankings := make([]ranking, len(peers))
	chosen := make([][]int, len(peers))
	for i := range peers {
		rankings[i] = newRanking(peers[i].hash, hashes, size)
		chosen[i] = make([]int, 0, size)
	}
	taken := make([]int, len(endpoints)) // how many have chosen an endpoint
	for range size {
		for i := range peers {
			// What a peer passes over because it is full stays full.
			e, ok := rankings[i].next()
			for ok && taken[e] >= limit {
				e, ok = rankings[i].next()
			}
			if !ok {
				e = emptiest(taken, chosen[i])
			}
			taken[e]++
			chosen[i] = append(chosen[i], e)
		}
	}
	return chosen
}

// emptiest returns the endpoint with the fewest clients that a peer does not
// have yet. All of those are full: subsets are whole even where the bound cannot
// hold, which takes subsets of more than a fifth of the endpoints.
func emptiest(taken, own []int) int {
	best := -1
	for e, n := range taken {
		if !slices.Contains(own, e) && (best < 0 || n < taken[best]) {
			best = e
		}
	}
	return best
}
