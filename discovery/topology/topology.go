// Package topology decides which endpoints of a Snapshot this client may use.
// It is pure, and follows kube-proxy to the letter: readiness, terminating
// endpoints as the last resort, node and zone hints, and internalTrafficPolicy
// Local (CategorizeEndpoints in k8s.io/kubernetes/pkg/proxy/topology.go).
//
//	levels := topology.Select(snapshot, topology.Locality{Node: "node-1", Zone: "zone-a"})
//	if len(levels) == 0 {
//		return snapshot.Unusable(target)
//	}
//	use(levels[0])
//
// It does not know whether an endpoint works; that is for the health package.
package topology

import (
	"slices"

	"github.com/sidestep-lb/sidestep/discovery"
)

// A Locality is where a client runs. Empty fields are unknown; hints then never
// match, and the client uses the whole cluster.
type Locality struct{ Node, Zone string }

// Select sorts the endpoints that a client at the given place may use into
// levels. Level 0 is exactly what kube-proxy would use on that client's node;
// there are no further levels as yet. No levels at all mean that kube-proxy
// would refuse or drop the connection.
func Select(s *discovery.Snapshot, at Locality) [][]discovery.Endpoint {
	usable := cluster(s.Endpoints, at)
	if s.LocalOnly {
		usable = local(s.Endpoints, at)
	}
	if len(usable) == 0 {
		return nil
	}
	return [][]discovery.Endpoint{usable}
}

// local never falls back to endpoints on other nodes.
func local(all []discovery.Endpoint, at Locality) []discovery.Endpoint {
	if at.Node == "" {
		return nil
	}
	here := filter(all, func(e *discovery.Endpoint) bool { return e.Node == at.Node })
	if usable := filter(here, ready); len(usable) > 0 {
		return usable
	}
	return filter(here, servingTerminating)
}

func cluster(all []discovery.Endpoint, at Locality) []discovery.Endpoint {
	usable := filter(all, ready)
	// A single ready endpoint anywhere rules the terminating ones out (KEP-1669),
	// whose hints do not count either.
	if len(usable) == 0 {
		return filter(all, servingTerminating)
	}
	if hinted := hintedFor(usable, at.Node, nodeHints); hinted != nil {
		return hinted
	}
	if hinted := hintedFor(usable, at.Zone, zoneHints); hinted != nil {
		return hinted
	}
	return usable
}

// hintedFor returns the endpoints whose hints name the place. It returns nil,
// and hints do not count, unless every endpoint has hints and one at least names
// the place.
func hintedFor(endpoints []discovery.Endpoint, place string, hints func(*discovery.Endpoint) []string) []discovery.Endpoint {
	if place == "" || slices.ContainsFunc(endpoints, func(e discovery.Endpoint) bool { return len(hints(&e)) == 0 }) {
		return nil
	}
	return filter(endpoints, func(e *discovery.Endpoint) bool { return slices.Contains(hints(e), place) })
}

func nodeHints(e *discovery.Endpoint) []string { return e.Hints.Nodes }
func zoneHints(e *discovery.Endpoint) []string { return e.Hints.Zones }

func ready(e *discovery.Endpoint) bool              { return e.Ready }
func servingTerminating(e *discovery.Endpoint) bool { return e.Serving && e.Terminating }

// filter returns nil if nothing is left.
func filter(endpoints []discovery.Endpoint, keep func(*discovery.Endpoint) bool) []discovery.Endpoint {
	var kept []discovery.Endpoint
	for i := range endpoints {
		if keep(&endpoints[i]) {
			kept = append(kept, endpoints[i])
		}
	}
	return kept
}
