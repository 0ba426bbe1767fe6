package discovery

import (
	"net/netip"
	"slices"
)

// An Endpoint is an address that serves a target, and what discovery knows of
// it. Endpoints are values: a Source never changes one that it has handed on,
// and neither may anybody else.
type Endpoint struct {
	// Addr is where the endpoint listens.
	Addr netip.AddrPort
	// AltAddr is where the same pod listens in the other address family, for
	// clients that cannot reach Addr. It is invalid where there is none.
	AltAddr netip.AddrPort
	// UID tells apart two pods that had the same address one after the other.
	// It is the UID of the pod, or empty where the source knows none.
	UID string
	// Pod is the name of the pod, or empty.
	Pod string
	// Node and Zone say where the pod runs; empty means unknown.
	Node, Zone string
	// Ready, Serving and Terminating are the conditions of an EndpointSlice,
	// with the defaults for absent ones already applied (KEP-1672). A source
	// that knows no conditions reports what it finds as ready and serving.
	Ready, Serving, Terminating bool
	// Weight is this endpoint's share of the load in proportion to the others',
	// for policies that go by weights. Zero counts as one.
	Weight uint32
	// AppProtocol is the protocol of the port as the Service declares it, such as
	// kubernetes.io/h2c (KEP-1422); empty means unknown.
	AppProtocol string
	// Priority is the level that topology put the endpoint in, 0 for those to be
	// used first. A source leaves it 0.
	Priority uint8
	// Hints name the zones and nodes that should use this endpoint.
	Hints Hints
}

// Hints are the topology hints of an endpoint (KEP-2433, KEP-3015). No hints at
// all and hints for nobody are the same thing.
type Hints struct {
	Zones, Nodes []string
}

// An Identity tells endpoints apart: the same address under a new UID is a new
// endpoint, with none of the history of the old one.
type Identity struct {
	Addr netip.AddrPort
	UID  string
}

// Identity returns what makes e the endpoint it is.
func (e *Endpoint) Identity() Identity { return Identity{e.Addr, e.UID} }

// Equal reports whether all that is known of e and o is the same.
func (e *Endpoint) Equal(o *Endpoint) bool {
	return e.Addr == o.Addr && e.AltAddr == o.AltAddr && e.UID == o.UID && e.Pod == o.Pod &&
		e.AppProtocol == o.AppProtocol && e.Weight == o.Weight && e.Priority == o.Priority &&
		e.Node == o.Node && e.Zone == o.Zone &&
		e.Ready == o.Ready && e.Serving == o.Serving && e.Terminating == o.Terminating &&
		slices.Equal(e.Hints.Zones, o.Hints.Zones) && slices.Equal(e.Hints.Nodes, o.Hints.Nodes)
}

// String returns the address, followed by the name of the pod if it is known.
func (e *Endpoint) String() string {
	if e.Pod == "" {
		return e.Addr.String()
	}
	return e.Addr.String() + " (" + e.Pod + ")"
}
