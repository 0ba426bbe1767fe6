package topology_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/topology"
)

func TestTheClusterIPStandsForTheEndpointsOfAnUnknownNode(t *testing.T) {
	clusterIP := netip.MustParseAddrPort("10.96.0.7:80")
	s := discovery.NewSnapshot([]discovery.Endpoint{
		{Addr: netip.MustParseAddrPort("10.0.0.1:8080"), Node: "node-1", Ready: true, Serving: true, AppProtocol: "kubernetes.io/h2c"},
	})
	for _, tt := range []struct {
		name  string
		local bool
		ip    netip.AddrPort
		at    topology.Locality
		want  string
	}{
		{"node unknown", true, clusterIP, topology.Locality{}, "10.96.0.7:80"},
		{"node unknown, zone known", true, clusterIP, topology.Locality{Zone: "a"}, "10.96.0.7:80"},
		{"on the node", true, clusterIP, topology.Locality{Node: "node-1"}, "10.0.0.1:8080"},
		{"on another node", true, clusterIP, topology.Locality{Node: "node-2"}, ""},
		{"no cluster IP", true, netip.AddrPort{}, topology.Locality{}, ""},
		{"another policy", false, clusterIP, topology.Locality{}, "10.0.0.1:8080"},
	} {
		s.LocalOnly, s.ClusterIP = tt.local, tt.ip
		for _, choose := range []func(*discovery.Snapshot, topology.Locality) [][]discovery.Endpoint{topology.Select, topology.Spill} {
			var got []string
			for _, level := range choose(s, tt.at) {
				for _, e := range level {
					got = append(got, e.Addr.String())
					if e.AppProtocol != "kubernetes.io/h2c" {
						t.Errorf("%s: appProtocol %q", tt.name, e.AppProtocol)
					}
				}
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("%s: %v, want %s", tt.name, got, tt.want)
			}
		}
		x := topology.Explain(s, tt.at)
		if n := x.Usable(); (n == 1) != (tt.want != "") || (x.Mode == topology.ClusterIP) != (tt.want == "10.96.0.7:80") {
			t.Errorf("%s: %v", tt.name, x)
		}
	}
}
