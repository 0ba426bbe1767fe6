package subset_test

import (
	"context"
	"fmt"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/selection/subset"
	"github.com/sidestep-lb/sidestep/discovery/static"
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

func ExampleChooser() {
	target, err := discovery.ParseTarget("static:///10.0.0.1:80,10.0.0.2:80,10.0.0.3:80")
	if err != nil {
		fmt.Println(err)
		return
	}
	chooser := subset.NewChooser(discovery.Watch(static.Source{}, target), nil, 2)
	defer chooser.Close()
	view, _, err := chooser.Next(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	levels := [][]discovery.Endpoint{view.Snapshot.Endpoints} // as topology.Select returns them
	fmt.Println(len(chooser.Choose(levels)), "of 3")
	// Output: 2 of 3
}
