package subset_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/selection/subset"
)

func endpoints(n int) []discovery.Endpoint {
	all := make([]discovery.Endpoint, n)
	for i := range all {
		all[i].Addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 80)
	}
	return all
}

func chosen(all []discovery.Endpoint, client string, size int) map[netip.AddrPort]bool {
	set := map[netip.AddrPort]bool{}
	for _, e := range subset.Rendezvous(all, client, size) {
		set[e.Addr] = true
	}
	return set
}

func TestASubsetHasItsSizeAndIsTheSameEachTime(t *testing.T) {
	all := endpoints(300)
	for _, size := range []int{1, 20, 299} {
		a, b := chosen(all, "client-7", size), chosen(all, "client-7", size)
		if len(a) != size || fmt.Sprint(a) != fmt.Sprint(b) {
			t.Errorf("size %d: %d and %d endpoints", size, len(a), len(b))
		}
	}
	for _, size := range []int{0, -1, 300, 1000} {
		if n := len(subset.Rendezvous(all, "client-7", size)); n != 300 {
			t.Errorf("size %d: %d endpoints, want all", size, n)
		}
	}
}

func TestOneEndpointLessChangesAtMostOneOfTheSubset(t *testing.T) {
	all := endpoints(100)
	for gone := range all {
		rest := append(append([]discovery.Endpoint(nil), all[:gone]...), all[gone+1:]...)
		before, after := chosen(all, "client-7", 10), chosen(rest, "client-7", 10)
		kept := 0
		for a := range before {
			if after[a] {
				kept++
			}
		}
		if want := 10; before[all[gone].Addr] {
			want = 9
			if kept != want {
				t.Errorf("without the chosen endpoint %d, %d of the subset stayed, want %d", gone, kept, want)
			}
		} else if kept != want {
			t.Errorf("without the unchosen endpoint %d, %d of the subset stayed, want all", gone, kept)
		}
	}
}

// The bound is seven standard deviations of a binomial share, so that only a
// bad hash fails it.
func TestClientsSpreadOverTheEndpoints(t *testing.T) {
	all := endpoints(100)
	clients := map[netip.AddrPort]int{}
	for c := range 1000 {
		for a := range chosen(all, fmt.Sprintf("shop-6d5f8c7b9-%05d", c), 10) {
			clients[a]++
		}
	}
	for _, e := range all {
		if n := clients[e.Addr]; n < 100-70 || n > 100+70 {
			t.Errorf("%v has %d clients, want about 100", e.Addr, n)
		}
	}
}
