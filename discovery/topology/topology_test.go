package topology_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/topology"
)

// endpoint reads "NAME ready|serving|terminating|… node=N zone=Z forNode=N forZone=Z,Z".
func endpoint(t *testing.T, i int, words string) discovery.Endpoint {
	t.Helper()
	e := discovery.Endpoint{Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 80)}
	for j, word := range strings.Fields(words) {
		key, value, _ := strings.Cut(word, "=")
		switch {
		case j == 0:
			e.Pod = word
		case key == "ready":
			e.Ready, e.Serving = true, true
		case key == "serving":
			e.Serving = true
		case key == "terminating":
			e.Terminating = true
		case key == "node":
			e.Node = value
		case key == "zone":
			e.Zone = value
		case key == "forNode":
			e.Hints.Nodes = strings.Split(value, ",")
		case key == "forZone":
			e.Hints.Zones = strings.Split(value, ",")
		default:
			t.Fatalf("unknown word %q", word)
		}
	}
	return e
}

func snapshot(t *testing.T, localOnly bool, endpoints ...string) *discovery.Snapshot {
	t.Helper()
	s := &discovery.Snapshot{LocalOnly: localOnly}
	for i, words := range endpoints {
		s.Endpoints = append(s.Endpoints, endpoint(t, i, words))
	}
	return s
}

func TestSelectionIsThatOfKubeProxy(t *testing.T) {
	here := topology.Locality{Node: "n1", Zone: "za"}
	for name, test := range map[string]struct {
		endpoints []string
		local     bool
		at        topology.Locality
		want      string
	}{
		"no endpoints":    {want: ""},
		"ready ones only": {endpoints: []string{"a ready", "b", "c ready"}, want: "a c"},
		"ready though terminating (publishNotReadyAddresses)": {endpoints: []string{"a ready terminating", "b serving terminating"}, want: "a"},
		"one ready rules out the terminating":                 {endpoints: []string{"a serving terminating", "b ready"}, want: "b"},
		"serving and terminating as the last resort":          {endpoints: []string{"a serving terminating", "b terminating", "c serving", "d"}, want: "a"},
		"nothing fit to use":                                  {endpoints: []string{"a serving", "b terminating"}, want: ""},

		"zone hints":                                         {endpoints: []string{"a ready forZone=za", "b ready forZone=zb", "c ready forZone=zb,za"}, at: here, want: "a c"},
		"zone hints, own zone unknown":                       {endpoints: []string{"a ready forZone=za", "b ready forZone=zb"}, want: "a b"},
		"zone hints, one endpoint has none":                  {endpoints: []string{"a ready forZone=za", "b ready"}, at: here, want: "a b"},
		"zone hints, none for the own zone":                  {endpoints: []string{"a ready forZone=zb", "b ready forZone=zc"}, at: here, want: "a b"},
		"hints of endpoints that are not ready do not count": {endpoints: []string{"a ready forZone=za", "b", "c ready forZone=zb"}, at: here, want: "a"},
		"node before zone":                                   {endpoints: []string{"a ready forNode=n1 forZone=za", "b ready forNode=n2 forZone=za"}, at: here, want: "a"},
		"no hint for the node, then zone":                    {endpoints: []string{"a ready forNode=n3 forZone=zb", "b ready forNode=n2 forZone=za"}, at: here, want: "b"},
		"hints do not count for terminating":                 {endpoints: []string{"a serving terminating forZone=zb", "b serving terminating forZone=za"}, at: here, want: "a b"},

		"local":                            {local: true, endpoints: []string{"a ready node=n1", "b ready node=n2"}, at: here, want: "a"},
		"local never falls back to others": {local: true, endpoints: []string{"a node=n1", "b ready node=n2"}, at: here, want: ""},
		"local terminating":                {local: true, endpoints: []string{"a serving terminating node=n1", "b ready node=n2"}, at: here, want: "a"},
		"local on an unknown node":         {local: true, endpoints: []string{"a ready", "b ready node=n2"}, want: ""},
		"local ignores hints":              {local: true, endpoints: []string{"a ready node=n1 forZone=zb", "b ready node=n2 forZone=za"}, at: here, want: "a"},
	} {
		t.Run(name, func(t *testing.T) {
			s := snapshot(t, test.local, test.endpoints...)
			before := slices.Clone(s.Endpoints)
			levels := topology.Select(s, test.at)
			var got []string
			for _, level := range levels {
				for _, e := range level {
					got = append(got, e.Pod)
				}
			}
			if strings.Join(got, " ") != test.want {
				t.Errorf("usable: %v, want %q", got, test.want)
			}
			if len(levels) > 1 || (len(levels) == 1 && len(levels[0]) == 0) {
				t.Errorf("levels %v: want one, not empty, or none", levels)
			}
			if !(&discovery.Snapshot{Endpoints: before}).Equal(&discovery.Snapshot{Endpoints: s.Endpoints}) {
				t.Error("the Snapshot was changed")
			}
		})
	}
}
