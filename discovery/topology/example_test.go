package topology_test

import (
	"fmt"
	"net/netip"
	"os"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/topology"
)

func ExampleSelect() {
	snapshot := discovery.NewSnapshot([]discovery.Endpoint{
		{Addr: netip.MustParseAddrPort("10.0.0.1:80"), Ready: true, Hints: discovery.Hints{Zones: []string{"zone-a"}}},
		{Addr: netip.MustParseAddrPort("10.0.0.2:80"), Ready: true, Hints: discovery.Hints{Zones: []string{"zone-b"}}},
	})
	levels := topology.Select(snapshot, topology.Locality{Zone: "zone-b"})
	fmt.Println(levels[0][0].Addr)
	// Output: 10.0.0.2:80
}

func ExampleExplain() {
	snapshot := discovery.NewSnapshot([]discovery.Endpoint{
		{Addr: netip.MustParseAddrPort("10.0.0.1:80"), Ready: true, Hints: discovery.Hints{Zones: []string{"zone-a"}}},
		{Addr: netip.MustParseAddrPort("10.0.0.2:80"), Ready: true, Hints: discovery.Hints{Zones: []string{"zone-b"}}},
		{Addr: netip.MustParseAddrPort("10.0.0.3:80"), Ready: true, Pod: "shop-x2x4z"},
		{Addr: netip.MustParseAddrPort("10.0.0.4:80")},
	})
	explanation := topology.Explain(snapshot, topology.Locality{Node: "node-1", Zone: "zone-a"})
	fmt.Println(explanation.Mode)
	fmt.Println(explanation.ZoneHints.State)
	fmt.Println(explanation.ZoneHints.Why)
	for _, e := range explanation.Endpoints {
		fmt.Println(e.Endpoint.Addr, e.Usable, e.Why)
	}
	// Output:
	// all
	// incomplete
	// endpoint 10.0.0.3:80 (shop-x2x4z) has no zone hint
	// 10.0.0.1:80 true ready
	// 10.0.0.2:80 true ready
	// 10.0.0.3:80 true ready
	// 10.0.0.4:80 false not ready
}

func ExampleHere() {
	// In a pod's manifest, with fieldRef spec.nodeName and
	// metadata.labels['topology.kubernetes.io/zone'].
	os.Setenv("SIDESTEP_NODE", "node-1")
	os.Setenv("SIDESTEP_ZONE", "zone-a")
	defer os.Unsetenv("SIDESTEP_NODE")
	defer os.Unsetenv("SIDESTEP_ZONE")
	fmt.Println(topology.Here())
	// Output: node node-1, zone zone-a
}

func ExampleLocality_Infer() {
	snapshot := discovery.NewSnapshot([]discovery.Endpoint{
		{Addr: netip.MustParseAddrPort("10.0.0.1:80"), Node: "node-1", Zone: "zone-a"},
		{Addr: netip.MustParseAddrPort("10.0.0.2:80"), Node: "node-2", Zone: "zone-b"},
	})
	fmt.Println(topology.Locality{Node: "node-2"}.Infer(snapshot).Zone)
	// Output: zone-b
}
