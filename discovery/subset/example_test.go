package subset_test

import (
	"fmt"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/subset"
)

func ExampleRendezvous() {
	all := endpoints(100)
	mine := subset.Rendezvous(all, "shop-6d5f8c7b9-x2x4z", 20)
	fmt.Println(len(mine))
	// Output: 20
}

func ExampleBounded() {
	target := endpoints(100)
	peers := subset.Peers([]discovery.Endpoint{{Pod: "shop-0"}, {Pod: "shop-1"}, {Pod: "shop-2"}, {Pod: "shop-3"}, {Pod: "shop-4"}})
	clients := map[string]int{}
	for _, name := range peers {
		for _, e := range subset.Bounded(target, peers, name, 20) {
			clients[e.Addr.String()]++
		}
	}
	most := 0
	for _, n := range clients {
		most = max(most, n)
	}
	fmt.Println("five clients with 20 of 100 servers each: no server has more than", most)
	// Output: five clients with 20 of 100 servers each: no server has more than 2
}

func ExamplePeers() {
	own := []discovery.Endpoint{{Pod: "shop-0", Ready: true}, {Pod: "shop-1", Terminating: true}, {}}
	fmt.Println(subset.Peers(own))
	// Output: [shop-0 shop-1]
}
