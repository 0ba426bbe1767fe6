// Package topology decides which endpoints of a Snapshot this client may use.
// It is pure but for [Here], and follows kube-proxy to the letter: readiness,
// terminating endpoints as the last resort, node and zone hints, and
// internalTrafficPolicy Local (CategorizeEndpoints in
// k8s.io/kubernetes/pkg/proxy/topology.go).
//
//	here := topology.Here()
//	levels := topology.Select(snapshot, here.Infer(snapshot))
//	if len(levels) == 0 {
//		return snapshot.Unusable(target)
//	}
//	use(levels[0])
//
// [Explain] says of the same decision why it is what it is.
//
// The package does not know whether an endpoint works; that is for the health
// package. It does not protect a zone from more load than its endpoints can
// take either: kube-proxy does not, and hints are meant to.
package topology

import (
	"slices"

	"github.com/sidestep-lb/sidestep/discovery"
)

// A Mode is the rule by which the endpoints were chosen.
type Mode string

// The modes, in the words of kube-proxy where it has some.
const (
	// All are the ready endpoints of the whole cluster: no hints count.
	All Mode = "all"
	// SameNode are the ready endpoints with a hint for the client's node
	// (KEP-3015).
	SameNode Mode = "same node"
	// SameZone are the ready endpoints with a hint for the client's zone
	// (KEP-2433).
	SameZone Mode = "same zone"
	// Terminating are the endpoints that serve while they terminate, since none
	// in the whole cluster is ready (KEP-1669). Their hints do not count.
	Terminating Mode = "terminating"
	// LocalOnly are the ready endpoints on the client's node, because of the
	// Service's internalTrafficPolicy Local (KEP-2086).
	LocalOnly Mode = "local only"
	// LocalTerminating are those on the client's node that serve while they
	// terminate, since none on that node is ready.
	LocalTerminating Mode = "local only, terminating"
	// ClusterIP is the Service's cluster IP in place of endpoints: its
	// internalTrafficPolicy is Local, and the client does not know its node. There
	// kube-proxy, which does, finds the endpoints of that node.
	ClusterIP Mode = "cluster IP"
	// None: there is no endpoint to use. kube-proxy refuses the connection or,
	// if only internalTrafficPolicy Local stands in the way, drops it.
	None Mode = "none"
)

// Select sorts the endpoints that a client at the given place may use into
// levels. Level 0 is exactly what kube-proxy would use on that client's node;
// there are no further levels as yet. No levels at all mean that kube-proxy
// would refuse or drop the connection. A level may be the Snapshot's own slice,
// so that it must not be changed either.
//
// A client that does not know its node cannot tell which endpoints the
// internalTrafficPolicy Local leaves it. Where the Service has a cluster IP, that is
// its one endpoint: see [NeedsNode].
func Select(s *discovery.Snapshot, at Locality) [][]discovery.Endpoint {
	if NeedsNode(s, at) {
		return [][]discovery.Endpoint{{proxied(s)}}
	}
	found := inspect(s, at)
	mode := found.mode()
	n := found.ready
	if mode != All {
		n = 0
		for i := range s.Endpoints {
			if mode.admits(&s.Endpoints[i], at) {
				n++
			}
		}
	}
	switch n {
	case 0:
		return nil
	case len(s.Endpoints): // usually, and both are as immutable
		return [][]discovery.Endpoint{s.Endpoints}
	}
	usable := make([]discovery.Endpoint, 0, n)
	for i := range s.Endpoints {
		if mode.admits(&s.Endpoints[i], at) {
			usable = append(usable, s.Endpoints[i])
		}
	}
	return [][]discovery.Endpoint{usable}
}

// admits reports whether a client at the given place may use e in this mode.
func (m Mode) admits(e *discovery.Endpoint, at Locality) bool {
	switch m {
	case All:
		return e.Ready
	case SameNode:
		return e.Ready && slices.Contains(e.Hints.Nodes, at.Node)
	case SameZone:
		return e.Ready && slices.Contains(e.Hints.Zones, at.Zone)
	case Terminating:
		return servesTerminating(e)
	case LocalOnly:
		return e.Ready && onNode(e, at)
	case LocalTerminating:
		return servesTerminating(e) && onNode(e, at)
	default:
		return false
	}
}

// findings are what decides the mode, from one look at each endpoint.
type findings struct {
	localOnly bool // internalTrafficPolicy is Local: only the client's node counts
	// How many endpoints are ready, and how many serve while they terminate.
	ready, terminating int
	nodes, zones       tally // of the ready ones
}

func inspect(s *discovery.Snapshot, at Locality) findings {
	f := findings{localOnly: s.LocalOnly, nodes: tally{place: at.Node}, zones: tally{place: at.Zone}}
	for i := range s.Endpoints {
		e := &s.Endpoints[i]
		switch {
		case f.localOnly && !onNode(e, at): // never a fall-back
		case e.Ready:
			f.ready++
			f.nodes.add(e, e.Hints.Nodes)
			f.zones.add(e, e.Hints.Zones)
		case servesTerminating(e):
			f.terminating++
		}
	}
	return f
}

// mode puts the rules in their order. A single ready endpoint rules all
// terminating ones out (KEP-1669); node hints go before zone hints.
func (f *findings) mode() Mode {
	switch {
	case f.ready > 0 && f.localOnly:
		return LocalOnly
	case f.ready > 0 && f.nodes.decide():
		return SameNode
	case f.ready > 0 && f.zones.decide():
		return SameZone
	case f.ready > 0:
		return All
	case f.terminating > 0 && f.localOnly:
		return LocalTerminating
	case f.terminating > 0:
		return Terminating
	default:
		return None
	}
}

// A tally counts the hints of one kind.
type tally struct {
	place                 string              // the client's own; "" if unknown
	with, without, naming int                 // endpoints with hints, without, and with one that names the place
	lacking               *discovery.Endpoint // the first of those without
}

func (t *tally) add(e *discovery.Endpoint, hints []string) {
	if len(hints) == 0 {
		if t.without == 0 {
			t.lacking = e
		}
		t.without++
		return
	}
	t.with++
	if t.place != "" && slices.Contains(hints, t.place) {
		t.naming++
	}
}

// decide reports whether the hints count: every endpoint has one, and one at
// least names the place.
func (t *tally) decide() bool { return t.without == 0 && t.naming > 0 }

func servesTerminating(e *discovery.Endpoint) bool { return e.Serving && e.Terminating }

func onNode(e *discovery.Endpoint, at Locality) bool { return at.Node != "" && e.Node == at.Node }
