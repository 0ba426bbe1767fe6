package topology_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/topology"
)

// inZones returns ready endpoints named after their zones: a1 in zone a, and so on.
func inZones(names ...string) *discovery.Snapshot {
	var all []discovery.Endpoint
	for i, name := range names {
		addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}), 80)
		all = append(all, discovery.Endpoint{Addr: addr, Pod: name, Zone: name[:1], Ready: true, Serving: true})
	}
	return discovery.NewSnapshot(all)
}

// written lists the pods of each level, and checks that they know their level.
func written(t *testing.T, levels [][]discovery.Endpoint) string {
	t.Helper()
	var text []string
	for i, level := range levels {
		var pods []string
		for _, e := range level {
			pods = append(pods, e.Pod)
			if int(e.Priority) != i {
				t.Errorf("%s is in level %d and says %d", e.Pod, i, e.Priority)
			}
		}
		text = append(text, strings.Join(pods, " "))
	}
	return strings.Join(text, " | ")
}

func TestWithoutHintsTheOwnZoneIsTheFirstLevel(t *testing.T) {
	s := inZones("a1", "b1", "a2", "c1")
	for zone, want := range map[string]string{"a": "a1 a2 | b1 c1", "c": "c1 | a1 b1 a2", "d": "a1 b1 a2 c1", "": "a1 b1 a2 c1"} {
		if got := written(t, topology.Spill(s, topology.Locality{Zone: zone})); got != want {
			t.Errorf("in zone %q: %q, want %q", zone, got, want)
		}
	}
}

func TestWithHintsTheFirstLevelIsWhatKubeProxyWouldUse(t *testing.T) {
	s := inZones("a1", "b1", "a2", "c1")
	for i, zone := range []string{"a", "b", "b", "b"} { // a2 and c1 are to serve zone b
		s.Endpoints[i].Hints.Zones = []string{zone}
	}
	if got, want := written(t, topology.Spill(s, topology.Locality{Zone: "b"})), "b1 a2 c1 | a1"; got != want {
		t.Errorf("in zone b: %q, want %q", got, want)
	}
	if got, want := written(t, topology.Spill(s, topology.Locality{Zone: "a"})), "a1 | a2 | b1 c1"; got != want {
		t.Errorf("in zone a: %q, want %q", got, want)
	}
}

func TestNothingSpillsOverFromALocalPolicyOrToEndpointsThatAreNotReady(t *testing.T) {
	s := inZones("a1", "b1")
	s.Endpoints[1].Ready = false
	if got := written(t, topology.Spill(s, topology.Locality{Zone: "a"})); got != "a1" {
		t.Errorf("with one that is not ready: %q", got)
	}
	s = inZones("a1", "b1")
	s.LocalOnly = true
	s.Endpoints[0].Node = "n1"
	if got := written(t, topology.Spill(s, topology.Locality{Zone: "a", Node: "n1"})); got != "a1" {
		t.Errorf("with policy Local: %q", got)
	}
	s = inZones("a1", "b1")
	for i := range s.Endpoints {
		s.Endpoints[i].Ready, s.Endpoints[i].Terminating = false, true
	}
	if got := written(t, topology.Spill(s, topology.Locality{Zone: "a"})); got != "a1 b1" {
		t.Errorf("with all terminating: %q", got)
	}
}

func ExampleSpill() {
	for i, level := range topology.Spill(inZones("a1", "b1", "a2"), topology.Locality{Zone: "a"}) {
		fmt.Println("level", i, "has", len(level))
	}
	// Output:
	// level 0 has 2
	// level 1 has 1
}
