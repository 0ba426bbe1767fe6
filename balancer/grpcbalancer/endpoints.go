package grpcbalancer

import (
	grpcresolver "google.golang.org/grpc/resolver"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/resolver"
)

// endpointsOf returns the endpoints of a resolver's state: the last ones if they
// are the same.
func endpointsOf(s grpcresolver.State, last []discovery.Endpoint, others *foreign) []discovery.Endpoint {
	defer others.updated()
	var endpoints []discovery.Endpoint // not before there is a difference
	n := 0
	for i := range s.Endpoints {
		if len(s.Endpoints[i].Addresses) == 0 {
			continue
		}
		e, ok := resolver.EndpointOf(s.Endpoints[i])
		if !ok {
			e = others.endpoint(s.Endpoints[i].Addresses)
		}
		switch {
		case endpoints != nil:
			endpoints = append(endpoints, *e)
		case n < len(last) && last[n].Equal(e):
			n++
		default:
			endpoints = append(append(make([]discovery.Endpoint, 0, len(s.Endpoints)), last[:n]...), *e)
		}
	}
	if endpoints == nil {
		return last[:n]
	}
	return endpoints
}

// addresses finds the addresses to connect to for an endpoint. As a rule few are
// new, and the index is not worth its cost.
type addresses struct {
	of     []grpcresolver.Endpoint
	others *foreign
	asked  int
	index  map[discovery.Identity][]grpcresolver.Address // nil before it is worth it
}

func (a *addresses) find(id discovery.Identity) []grpcresolver.Address {
	const few = 4
	if a.asked++; a.asked > few && a.index == nil {
		a.index = make(map[discovery.Identity][]grpcresolver.Address, len(a.of))
		for _, list := range a.others.known {
			for _, e := range list {
				a.index[e.Identity()] = e.addresses
			}
		}
		for _, e := range a.of {
			if endpoint, ok := resolver.EndpointOf(e); ok {
				a.index[endpoint.Identity()] = e.Addresses
			}
		}
	}
	if a.index != nil {
		return a.index[id]
	}
	for _, e := range a.of {
		if endpoint, ok := resolver.EndpointOf(e); ok && endpoint.Identity() == id {
			return e.Addresses
		}
	}
	return a.others.find(id)
}
