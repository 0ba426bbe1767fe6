package topology_test

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/topology"
)

// The oracle is CategorizeEndpoints of kube-proxy 1.37 (pkg/proxy/topology.go)
// written down once more, function by function and without shortcuts. Nothing of
// it is shared with the package under test.
type oracle struct {
	node, zone string
	localOnly  bool
}

func where(eps []discovery.Endpoint, keep func(discovery.Endpoint) bool) []discovery.Endpoint {
	var kept []discovery.Endpoint
	for _, ep := range eps {
		if keep(ep) {
			kept = append(kept, ep)
		}
	}
	return kept
}

func has(hints []string, name string) bool {
	found := false
	for _, h := range hints {
		found = found || h == name
	}
	return name != "" && found
}

func (o oracle) mode(eps []discovery.Endpoint) string {
	everyNode, everyZone, someNode, someZone := true, true, false, false
	for _, r := range where(eps, func(ep discovery.Endpoint) bool { return ep.Ready }) {
		if len(r.Hints.Nodes) == 0 {
			everyNode = false
		}
		if has(r.Hints.Nodes, o.node) {
			someNode = true
		}
		if len(r.Hints.Zones) == 0 {
			everyZone = false
		}
		if has(r.Hints.Zones, o.zone) {
			someZone = true
		}
	}
	if everyNode && someNode {
		return "SAME_NODE"
	}
	if everyZone && someZone {
		return "SAME_ZONE"
	}
	return "ALL"
}

func (o oracle) cluster(eps []discovery.Endpoint) []discovery.Endpoint {
	m := o.mode(eps)
	c := where(eps, func(ep discovery.Endpoint) bool {
		return ep.Ready && (m == "ALL" || m == "SAME_NODE" && has(ep.Hints.Nodes, o.node) || m == "SAME_ZONE" && has(ep.Hints.Zones, o.zone))
	})
	if len(c) == 0 {
		c = where(eps, func(ep discovery.Endpoint) bool { return ep.Serving && ep.Terminating })
	}
	return c
}

func (o oracle) local(eps []discovery.Endpoint) []discovery.Endpoint {
	local := func(ep discovery.Endpoint) bool { return o.node != "" && ep.Node == o.node }
	l := where(eps, func(ep discovery.Endpoint) bool { return local(ep) && ep.Ready })
	if len(l) == 0 {
		l = where(eps, func(ep discovery.Endpoint) bool { return local(ep) && ep.Serving && ep.Terminating })
	}
	return l
}

func (o oracle) usable(eps []discovery.Endpoint) []discovery.Endpoint {
	if o.localOnly {
		return o.local(eps)
	}
	return o.cluster(eps)
}

var places = []string{"", "a", "b", "c"}

func randomSnapshot(rnd *rand.Rand) *discovery.Snapshot {
	one := func(percent int) bool { return rnd.IntN(100) < percent }
	ready, hinted := []int{0, 40, 90}[rnd.IntN(3)], []int{0, 90, 100}[rnd.IntN(3)]
	hints := func() []string {
		if !one(hinted) {
			return nil
		}
		h := []string{places[1+rnd.IntN(3)]}
		if one(20) {
			h = append(h, places[1+rnd.IntN(3)])
		}
		return h
	}
	s := &discovery.Snapshot{LocalOnly: one(25)}
	for i := range rnd.IntN(7) {
		s.Endpoints = append(s.Endpoints, discovery.Endpoint{
			Addr:  netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 80),
			Node:  places[rnd.IntN(4)],
			Ready: one(ready), Serving: one(70), Terminating: one(40),
			Hints: discovery.Hints{Zones: hints(), Nodes: hints()},
		})
	}
	return s
}

func level(levels [][]discovery.Endpoint) []discovery.Endpoint {
	if len(levels) == 0 {
		return nil
	}
	return levels[0]
}

func same(a, b []discovery.Endpoint) bool {
	return slices.EqualFunc(a, b, func(a, b discovery.Endpoint) bool { return a.Equal(&b) })
}

func TestAHundredThousandRandomSnapshotsAreSelectedAsKubeProxyWould(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 37))
	modes := map[topology.Mode]int{}
	for i := range 100_000 {
		s := randomSnapshot(rnd)
		at := topology.Locality{Node: places[rnd.IntN(4)], Zone: places[rnd.IntN(4)]}
		levels := topology.Select(s, at)
		want := oracle{at.Node, at.Zone, s.LocalOnly}.usable(s.Endpoints)
		if !same(level(levels), want) {
			t.Fatalf("case %d, %+v at %v:\ngot  %v\nwant %v", i, s, at, levels, want)
		}
		if len(levels) > 1 || len(levels) == 1 && len(levels[0]) == 0 {
			t.Fatalf("case %d: levels %v: want one, not empty, or none", i, levels)
		}
		if i%5 == 0 { // its texts are dear
			modes[explained(t, s, at, want)]++
		}
	}
	for _, mode := range []topology.Mode{
		topology.All, topology.SameNode, topology.SameZone, topology.Terminating,
		topology.LocalOnly, topology.LocalTerminating, topology.None,
	} {
		if modes[mode] < 100 {
			t.Errorf("mode %q came up %d times: the inputs do not cover it", mode, modes[mode])
		}
	}
	t.Log(modes)
}

// explained checks that Explain tells the same story as Select, and returns its
// mode.
func explained(t *testing.T, s *discovery.Snapshot, at topology.Locality, want []discovery.Endpoint) topology.Mode {
	t.Helper()
	x := topology.Explain(s, at)
	var usable []discovery.Endpoint
	for i, e := range x.Endpoints {
		if !e.Endpoint.Equal(&s.Endpoints[i]) || e.Why == "" {
			t.Fatalf("%+v at %v: verdict %d is %+v", s, at, i, e)
		}
		if e.Usable {
			usable = append(usable, e.Endpoint)
		}
	}
	switch {
	case !same(usable, want) || x.Usable() != len(want):
		t.Fatalf("%+v at %v: explained as %v, selected %v", s, at, usable, want)
	case (x.Mode == topology.None) != (len(want) == 0):
		t.Fatalf("%+v at %v: mode %q with %d endpoints", s, at, x.Mode, len(want))
	case (x.Mode == topology.SameNode) != (x.NodeHints.State == topology.HintsDecide),
		(x.Mode == topology.SameZone) != (x.ZoneHints.State == topology.HintsDecide),
		x.NodeHints.Why == "" || x.ZoneHints.Why == "":
		t.Fatalf("%+v at %v: mode %q with node hints %v and zone hints %v", s, at, x.Mode, x.NodeHints, x.ZoneHints)
	}
	return x.Mode
}

func TestSelectionDoesNotDependOnTheOrderOfEndpoints(t *testing.T) {
	rnd := rand.New(rand.NewPCG(2, 37))
	for range 10_000 {
		s := randomSnapshot(rnd)
		at := topology.Locality{Node: places[rnd.IntN(4)], Zone: places[rnd.IntN(4)]}
		want := level(topology.Select(s, at))
		shuffled := &discovery.Snapshot{LocalOnly: s.LocalOnly, Endpoints: slices.Clone(s.Endpoints)}
		rnd.Shuffle(len(shuffled.Endpoints), func(i, j int) {
			shuffled.Endpoints[i], shuffled.Endpoints[j] = shuffled.Endpoints[j], shuffled.Endpoints[i]
		})
		got := discovery.NewSnapshot(slices.Clone(level(topology.Select(shuffled, at)))).Endpoints
		if !same(got, want) {
			t.Fatalf("%+v at %v: %v, in another order %v", s, at, want, got)
		}
	}
}

// An endpoint that cannot be used at all changes nothing for the others,
// whatever hints it has or lacks.
func TestAnUnfitEndpointChangesNothing(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 37))
	for range 10_000 {
		s := randomSnapshot(rnd)
		at := topology.Locality{Node: places[rnd.IntN(4)], Zone: places[rnd.IntN(4)]}
		unfit := randomSnapshot(rnd).Endpoints
		for i := range unfit {
			unfit[i].Ready, unfit[i].Serving = false, false
		}
		more := &discovery.Snapshot{LocalOnly: s.LocalOnly, Endpoints: slices.Concat(s.Endpoints, unfit)}
		if got, want := level(topology.Select(more, at)), level(topology.Select(s, at)); !same(got, want) {
			t.Fatalf("%+v at %v: %v, with unfit endpoints %v", s, at, want, got)
		}
	}
}

func TestSelectionAllocatesNoMoreThanItsResult(t *testing.T) {
	s, at := manyHinted(), topology.Locality{Node: "a", Zone: "b"}
	if n := testing.AllocsPerRun(10, func() { topology.Select(s, at) }); n > 2 {
		t.Errorf("%v allocations, want one for the endpoints and one for the levels", n)
	}
}

func manyHinted() *discovery.Snapshot {
	s := &discovery.Snapshot{Endpoints: make([]discovery.Endpoint, 10_000)}
	for i := range s.Endpoints {
		s.Endpoints[i].Ready = true
		s.Endpoints[i].Hints.Zones = []string{places[1+i%3]}
	}
	return s
}

func BenchmarkSelect(b *testing.B) {
	s := manyHinted()
	for b.Loop() {
		topology.Select(s, topology.Locality{Node: "a", Zone: "b"})
	}
	b.ReportAllocs()
}
