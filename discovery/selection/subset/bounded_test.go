package subset_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/selection/subset"
)

func names(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("shop-6d5f8c7b9-%05d", i)
	}
	return all
}

func TestEachClientIsGivenItsOwnOfOneTable(t *testing.T) {
	all, peers := endpoints(60), names(40)
	for name, want := range subset.All(all, peers, 8) {
		if got := subset.Bounded(all, peers, name, 8); !sameEndpoints(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

func TestTheOrderOfPeersAndEndpointsDoesNotMatter(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	all, peers := endpoints(60), names(40)
	want := subset.Bounded(all, peers, peers[7], 8)
	for range 20 {
		all, peers := slices.Clone(all), slices.Concat(peers, peers[:rnd.IntN(len(peers))]) // some of them twice
		rnd.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		rnd.Shuffle(len(peers), func(i, j int) { peers[i], peers[j] = peers[j], peers[i] })
		got := discovery.NewSnapshot(subset.Bounded(all, peers, names(8)[7], 8)).Endpoints
		if !sameEndpoints(got, want) {
			t.Fatalf("%v, in another order %v", want, got)
		}
	}
}

func TestAClientThatIsNoPeerChoosesAlone(t *testing.T) {
	all := endpoints(60)
	for name, peers := range map[string][]string{"no peers": nil, "others": names(40), "few peers": {"me", "you"}} {
		got, want := subset.Bounded(all, peers, "me", 8), subset.Rendezvous(all, "me", 8)
		if !sameEndpoints(got, want) {
			t.Errorf("%s: %v, want that of Rendezvous, %v", name, got, want)
		}
	}
}

func TestABoundedSubsetThatCoversAllIsAll(t *testing.T) {
	all, peers := endpoints(10), names(40)
	for _, size := range []int{0, -1, 10, 11} {
		if got := subset.Bounded(all, peers, peers[0], size); !sameEndpoints(got, all) {
			t.Errorf("size %d: %v", size, got)
		}
	}
	if got := subset.Bounded(nil, peers, peers[0], 5); len(got) != 0 {
		t.Errorf("%v out of nothing", got)
	}
}

// Whatever the numbers, a subset has its size and nothing twice, and no endpoint
// more clients than its share.
func TestNoEndpointHasMoreThanItsShareOfClients(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		m := 2 + rnd.IntN(60)
		size, peers := 1+rnd.IntN(m-1), names(1+rnd.IntN(80))
		if n, limit := mostClients(t, endpoints(m), peers, size), share(len(peers), m, size); n > limit {
			t.Errorf("%d of %d endpoints for each of %d clients: one has %d clients, want at most %d", size, m, len(peers), n, limit)
		}
	}
}

// Seven clients of two endpoints each: if six take the same two, these have their
// share, and the last client could only be given the third one twice.
func TestASubsetIsWholeEvenWhereTheBoundCannotHold(t *testing.T) {
	all, over := endpoints(3), 0
	for i := range 5000 {
		peers := names(7)
		for j := range peers {
			peers[j] += fmt.Sprint(i)
		}
		if mostClients(t, all, peers, 2) > share(7, 3, 2) {
			over++
		}
	}
	if over == 0 || over > 50 {
		t.Errorf("beyond the bound in %d of 5000 cases: it should be rare, and this test needs one", over)
	}
}

func share(clients, endpoints, size int) int {
	return (5*clients*size + 4*endpoints - 1) / (4 * endpoints)
}

// mostClients returns the most clients that an endpoint has, and checks that each
// client has a proper subset.
func mostClients(t *testing.T, all []discovery.Endpoint, peers []string, size int) int {
	t.Helper()
	clients, most := map[netip.AddrPort]int{}, 0
	for name, mine := range subset.All(all, peers, size) {
		if n := len(set(mine)); n != size || len(mine) != size {
			t.Fatalf("%s has %v, %d endpoints of %d, want %d", name, mine, n, len(all), size)
		}
		for _, e := range mine {
			clients[e.Addr]++
			most = max(most, clients[e.Addr])
		}
	}
	return most
}

func sameEndpoints(a, b []discovery.Endpoint) bool {
	return slices.EqualFunc(a, b, func(a, b discovery.Endpoint) bool { return a.Equal(&b) })
}

func BenchmarkBounded(b *testing.B) {
	for _, size := range []struct{ clients, endpoints, subset int }{{100, 100, 5}, {300, 300, 20}, {50, 500, 20}, {1000, 10000, 20}} {
		b.Run(fmt.Sprintf("%dx%d,%d", size.clients, size.endpoints, size.subset), func(b *testing.B) {
			all, peers := endpoints(size.endpoints), names(size.clients)
			b.ReportAllocs()
			for b.Loop() {
				subset.Bounded(all, peers, peers[0], size.subset)
			}
		})
	}
}

func BenchmarkRendezvous(b *testing.B) {
	for _, m := range []int{300, 10000} {
		b.Run(fmt.Sprint(m), func(b *testing.B) {
			all := endpoints(m)
			b.ReportAllocs()
			for b.Loop() {
				subset.Rendezvous(all, "shop-6d5f8c7b9-x2x4z", 20)
			}
		})
	}
}
