package topology_test

import (
	"strings"
	"testing"

	"github.com/sidestep-lb/sidestep/discovery/topology"
)

// Pitfall P20: hints that do not count must say so, and why.
func TestAnInactiveHintSaysWhy(t *testing.T) {
	here := topology.Locality{Node: "n1", Zone: "za"}
	type status = topology.HintStatus
	for name, test := range map[string]struct {
		endpoints   []string
		local       bool
		at          topology.Locality
		mode        topology.Mode
		nodes, zone status
	}{
		"no hints at all": {
			endpoints: []string{"a ready", "b ready"}, at: here, mode: topology.All,
			nodes: status{State: topology.HintsAbsent, Why: "no ready endpoint has one"},
			zone:  status{State: topology.HintsAbsent, Why: "no ready endpoint has one"},
		},
		"zone hints count": {
			endpoints: []string{"a ready forZone=za", "b ready forZone=zb"}, at: here, mode: topology.SameZone,
			nodes: status{State: topology.HintsAbsent, Why: "no ready endpoint has one"},
			zone:  status{State: topology.HintsDecide, Why: "they decide"},
		},
		"node hints count": {
			endpoints: []string{"a ready forNode=n1 forZone=za"}, at: here, mode: topology.SameNode,
			nodes: status{State: topology.HintsDecide, Why: "they decide"},
			zone:  status{State: topology.HintsNotAsked, Why: "the node hints decide"},
		},
		"one endpoint has none": {
			endpoints: []string{"a ready forZone=za", "b ready", "c"}, at: here, mode: topology.All,
			nodes: status{State: topology.HintsAbsent, Why: "no ready endpoint has one"},
			zone:  status{State: topology.HintsIncomplete, Why: "endpoint 10.0.0.1:80 (b) has no zone hint"},
		},
		"several have none": {
			endpoints: []string{"a ready forNode=n1", "b ready", "c ready"}, at: here, mode: topology.All,
			nodes: status{State: topology.HintsIncomplete, Why: "endpoint 10.0.0.1:80 (b) and 1 more have no node hint"},
			zone:  status{State: topology.HintsAbsent, Why: "no ready endpoint has one"},
		},
		"own place unknown": {
			endpoints: []string{"a ready forZone=za forNode=n1"}, mode: topology.All,
			nodes: status{State: topology.HintsUnplaced, Why: "own node unknown"},
			zone:  status{State: topology.HintsUnplaced, Why: "own zone unknown"},
		},
		"for other places": {
			endpoints: []string{"a ready forZone=zb forNode=n2"}, at: here, mode: topology.All,
			nodes: status{State: topology.HintsElsewhere, Why: "no endpoint has a hint for n1"},
			zone:  status{State: topology.HintsElsewhere, Why: "no endpoint has a hint for za"},
		},
		"local only": {
			endpoints: []string{"a ready node=n1 forZone=za", "b ready node=n2 forZone=zb"}, local: true, at: here, mode: topology.LocalOnly,
			nodes: status{State: topology.HintsNotAsked, Why: "internalTrafficPolicy is Local"},
			zone:  status{State: topology.HintsNotAsked, Why: "internalTrafficPolicy is Local"},
		},
		"all terminating": {
			endpoints: []string{"a serving terminating forZone=za"}, at: here, mode: topology.Terminating,
			nodes: status{State: topology.HintsNotAsked, Why: "no endpoint is ready"},
			zone:  status{State: topology.HintsNotAsked, Why: "no endpoint is ready"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			x := topology.Explain(snapshot(t, test.local, test.endpoints...), test.at)
			if x.Mode != test.mode || x.NodeHints != test.nodes || x.ZoneHints != test.zone {
				t.Errorf("mode %q, node hints %q, zone hints %q", x.Mode, x.NodeHints, x.ZoneHints)
			}
		})
	}
}

func TestEachEndpointIsToldWhyItIsUsedOrNot(t *testing.T) {
	here := topology.Locality{Node: "n1", Zone: "za"}
	for name, test := range map[string]struct {
		endpoints []string
		local     bool
		at        topology.Locality
		want      []string
	}{
		"hinted": {
			endpoints: []string{"a ready forZone=za", "b ready forZone=zb,zc", "c", "d serving terminating"}, at: here,
			want: []string{"hinted for za", "not hinted for zb, zc", "not not ready", "not terminating, and others are ready"},
		},
		"by node": {
			endpoints: []string{"a ready forNode=n1", "b ready forNode=n2"}, at: here,
			want: []string{"hinted for n1", "not hinted for n2"},
		},
		"terminating": {
			endpoints: []string{"a serving terminating", "b terminating"}, at: here,
			want: []string{"serves while terminating, and none is ready", "not terminating, and serves no more"},
		},
		"local": {
			endpoints: []string{"a ready node=n1", "b ready node=n2", "c ready"}, local: true, at: here,
			want: []string{"ready", "not internalTrafficPolicy is Local, and it runs on n2", "not internalTrafficPolicy is Local, and its node unknown"},
		},
		"local, somewhere": {
			endpoints: []string{"a ready node=n1"}, local: true,
			want: []string{"not internalTrafficPolicy is Local, and own node unknown"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			for i, e := range topology.Explain(snapshot(t, test.local, test.endpoints...), test.at).Endpoints {
				got := e.Why
				if !e.Usable {
					got = "not " + got
				}
				if got != test.want[i] {
					t.Errorf("%s: %q, want %q", e.Endpoint.Pod, got, test.want[i])
				}
			}
		})
	}
}

func TestAnExplanationFitsALogLine(t *testing.T) {
	x := topology.Explain(snapshot(t, true, "a ready node=n1"), topology.Locality{Zone: "za"})
	want := "none: 0 of 1 endpoints, for node unknown, zone za; " +
		"node hints: internalTrafficPolicy is Local; zone hints: internalTrafficPolicy is Local"
	if got := x.String(); got != want || strings.Contains(got, "\n") {
		t.Errorf("%q, want %q", got, want)
	}
}
