package subset_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/selection/subset"
)

// A table says which endpoints each client has.
type table map[string]map[netip.AddrPort]bool

type algorithm func(all []discovery.Endpoint, peers []string, size int) table

func bounded(all []discovery.Endpoint, peers []string, size int) table {
	t := table{}
	for name, mine := range subset.All(all, peers, size) {
		t[name] = set(mine)
	}
	return t
}

func rendezvous(all []discovery.Endpoint, peers []string, size int) table {
	t := table{}
	for _, name := range peers {
		t[name] = set(subset.Rendezvous(all, name, size))
	}
	return t
}

func set(all []discovery.Endpoint) map[netip.AddrPort]bool {
	s := make(map[netip.AddrPort]bool, len(all))
	for i := range all {
		s[all[i].Addr] = true
	}
	return s
}

// balance returns the most and the fewest clients of an endpoint, in units of
// the mean.
func (t table) balance(all []discovery.Endpoint) (most, fewest float64) {
	clients := map[netip.AddrPort]int{}
	total := 0
	for _, mine := range t {
		for a := range mine {
			clients[a]++
			total++
		}
	}
	hi, lo := 0, total
	for i := range all {
		hi, lo = max(hi, clients[all[i].Addr]), min(lo, clients[all[i].Addr])
	}
	mean := float64(total) / float64(len(all))
	return float64(hi) / mean, float64(lo) / mean
}

// opened counts the connections of after that before did not have, among the
// clients that both have.
func opened(before, after table) int {
	n := 0
	for name, mine := range after {
		had, ok := before[name]
		if !ok {
			continue
		}
		for a := range mine {
			if !had[a] {
				n++
			}
		}
	}
	return n
}

type scenario struct {
	clients, endpoints, size int
	most                     float64 // the target: clients of an endpoint, in units of the mean
	large                    bool
}

// Scenario B14: many clients of many servers, and what one of them more or less
// does to the others. Those that go are from the middle, as with pods, and not
// the last ones.
func TestSubsetsAreEvenAndChangeLittle(t *testing.T) {
	t.Logf("%-14s %-10s %8s %8s %7s %7s %7s %7s", "N,M,k", "", "max/mean", "min/mean", "+1 srv", "-1 srv", "+1 cli", "-1 cli")
	for _, s := range []scenario{
		{100, 100, 5, 1.4, false},
		{300, 300, 20, 1.25, false},
		{50, 500, 20, 1.5, false}, // 2 on average, and so at most 3
		{1000, 10000, 20, 1.5, true},
	} {
		if s.large && testing.Short() {
			continue
		}
		if !s.large {
			s.measure(t, "rendezvous", rendezvous) // for comparison
		}
		most, churn := s.measure(t, "bounded", bounded)
		if most > s.most+1e-9 {
			t.Errorf("%v: %.2f times the mean, want at most %.2f", s, most, s.most)
		}
		ideal := s.clients * s.size / s.endpoints // what a server more takes over
		for i, n := range churn {
			if i > 1 {
				ideal = s.size // what a client more brings with it
			}
			if n > 5*ideal {
				t.Errorf("%v: change %d opens %d connections, want at most 5 times %d", s, i, n, ideal)
			}
		}
	}
}

func (s scenario) measure(t *testing.T, name string, choose algorithm) (most float64, churn []int) {
	all, peers := endpoints(s.endpoints+1), names(s.clients+1)
	fewerServers := slices.Delete(slices.Clone(all[:s.endpoints]), s.endpoints/2, s.endpoints/2+1)
	fewerClients := slices.Delete(slices.Clone(peers[:s.clients]), s.clients/2, s.clients/2+1)
	moreServers, moreClients := all, peers
	all, peers = all[:s.endpoints], peers[:s.clients]

	before := choose(all, peers, s.size)
	most, fewest := before.balance(all)
	churn = []int{
		opened(before, choose(moreServers, peers, s.size)),
		opened(before, choose(fewerServers, peers, s.size)),
		opened(before, choose(all, moreClients, s.size)),
		opened(before, choose(all, fewerClients, s.size)),
	}
	t.Logf("%-14s %-10s %8.2f %8.2f %7d %7d %7d %7d", fmt.Sprintf("%d,%d,%d", s.clients, s.endpoints, s.size), name,
		most, fewest, churn[0], churn[1], churn[2], churn[3])
	return most, churn
}

// A rollout replaces all pods one by one: first one more, then one less. Each of
// the two has an ideal price: the connections that a server more takes over, and
// those that a server less gives back.
func TestARolloutOpensFewConnectionsMoreThanItMust(t *testing.T) {
	const n, size = 100, 5
	all, peers := endpoints(2*n), names(2*n)
	for name, choose := range map[string]algorithm{"rendezvous": rendezvous, "bounded": bounded} {
		servers, clients := 0, 0
		for _, rollout := range []struct {
			opened *int
			choose func(from, to int) table
		}{
			{&servers, func(from, to int) table { return choose(all[from:to], peers[:n], size) }},
			{&clients, func(from, to int) table { return choose(all[:n], peers[from:to], size) }},
		} {
			for i := range n {
				before, surge, after := rollout.choose(i, i+n), rollout.choose(i, i+n+1), rollout.choose(i+1, i+n+1)
				*rollout.opened += opened(before, surge) + opened(surge, after)
			}
		}
		t.Logf("%d,%d,%d %-10s all servers replaced: %d connections opened, all clients: %d by others", n, n, size, name, servers, clients)
		if ideal := 2 * n * size; servers > 5*ideal || clients > 5*ideal {
			t.Errorf("%s: %d and %d connections opened, want at most 5 times %d", name, servers, clients, ideal)
		}
	}
}
