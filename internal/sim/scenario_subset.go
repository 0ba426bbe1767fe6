package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/selection/subset"
)

// subsetting chooses size of the servers for each of the clients.
type subsetting func(servers []discovery.Endpoint, clients []string, size int) assignment

// An assignment says which servers each client has.
type assignment map[string]map[netip.AddrPort]bool

// subsets is B14. The largest of its cases has a tenth of its clients and
// servers: each client computes the choices of all, and here all do so in turn.
func subsets() *scenario {
	s := &scenario{
		id: "B14", title: "clients × servers, subset size: connections to the busiest and the idlest server, and new ones when a server comes or goes",
		contestants: []contestant{
			{name: "grpc random_subsetting", subset: rendezvous}, // gRFC A68: by hash, and by nothing else
			{name: "deterministic (SRE book)", subset: deterministic},
			{name: subsetBounded, ours: true, subset: bounded},
		},
	}
	for _, c := range []subsetCase{{100, 100, 5}, {300, 300, 20}, {50, 500, 20}, {100, 1000, 20}} {
		s.studies = append(s.studies, c.study())
		mean := float64(c.clients*c.size) / float64(c.servers)
		s.targets = append(s.targets,
			target{of: subsetBounded, column: c.title("max/mean"), bound: "1.25, rounded up", limit: constant(math.Ceil(1.25*mean) / mean)},
			target{of: subsetBounded, column: c.title("+1"), bound: "5 × ideal", limit: constant(5 * mean)},
			target{of: subsetBounded, column: c.title("-1"), bound: "5 × ideal", limit: constant(5 * mean)})
	}
	return s
}

const subsetBounded = "sidestep subset.Bounded"

type subsetCase struct{ clients, servers, size int }

func (c subsetCase) title(what string) string {
	return fmt.Sprintf("%d×%d,%d: %s", c.clients, c.servers, c.size, what)
}

func (c subsetCase) study() study {
	return study{
		columns: []column{
			{title: c.title("max/mean")}, {title: c.title("min/mean"), better: more}, {title: c.title("+1")}, {title: c.title("-1")},
		},
		direct: func(k contestant, seed uint64) []float64 {
			servers, clients := someEndpoints(c.servers+1, seed), someNames(c.clients, seed)
			before := k.subset(servers[:c.servers], clients, c.size)
			more := k.subset(servers, clients, c.size)
			gone := c.servers / 2 // in the middle, as with pods, and not the last one
			fewer := k.subset(slices.Delete(slices.Clone(servers[:c.servers]), gone, gone+1), clients, c.size)
			most, least := before.spread(servers[:c.servers])
			return []float64{most, least, before.opened(more), before.opened(fewer)}
		},
	}
}

func bounded(servers []discovery.Endpoint, clients []string, size int) assignment {
	all := assignment{}
	for _, c := range clients {
		all[c] = addresses(subset.Bounded(servers, clients, c, size))
	}
	return all
}

func rendezvous(servers []discovery.Endpoint, clients []string, size int) assignment {
	all := assignment{}
	for _, c := range clients {
		all[c] = addresses(subset.Rendezvous(servers, c, size))
	}
	return all
}

// deterministic is the subsetting of Google's SRE book, chapter 20: clients with
// consecutive numbers share out one shuffle of the servers, the next round of
// clients another.
func deterministic(servers []discovery.Endpoint, clients []string, size int) assignment {
	all := assignment{}
	slots := len(servers) / size
	for i, c := range clients {
		shuffled := slices.Clone(servers)
		round := rand.New(rand.NewPCG(uint64(i/slots), 0)) //nolint:gosec // the algorithm wants the same seed everywhere
		round.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		all[c] = addresses(shuffled[i%slots*size:][:size])
	}
	return all
}

func addresses(servers []discovery.Endpoint) map[netip.AddrPort]bool {
	set := make(map[netip.AddrPort]bool, len(servers))
	for i := range servers {
		set[servers[i].Addr] = true
	}
	return set
}

// spread returns the most and the fewest clients of a server, in units of the
// mean.
func (a assignment) spread(servers []discovery.Endpoint) (most, least float64) {
	clients, total := map[netip.AddrPort]int{}, 0
	for _, mine := range a {
		for addr := range mine {
			clients[addr]++
			total++
		}
	}
	hi, lo := 0, total
	for i := range servers {
		hi, lo = max(hi, clients[servers[i].Addr]), min(lo, clients[servers[i].Addr])
	}
	mean := float64(total) / float64(len(servers))
	return float64(hi) / mean, float64(lo) / mean
}

// opened counts the connections of after that a does not have.
func (a assignment) opened(after assignment) float64 {
	n := 0
	for name, mine := range after {
		for addr := range mine {
			if !a[name][addr] {
				n++
			}
		}
	}
	return float64(n)
}

func someEndpoints(n int, seed uint64) []discovery.Endpoint {
	all := make([]discovery.Endpoint, n)
	for i := range all {
		all[i].Addr = addressOf(int(seed)<<16 | i)
	}
	return all
}

func someNames(n int, seed uint64) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("client-%d-%d", seed, i)
	}
	return all
}
