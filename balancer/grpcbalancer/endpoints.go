package grpcbalancer

import (
	"net/netip"

	grpcresolver "google.golang.org/grpc/resolver"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/resolver"
)

// endpointsOf returns the endpoints of a resolver's state: the last ones if they
// are the same.
func endpointsOf(s grpcresolver.State, last []discovery.Endpoint) []discovery.Endpoint {
	var endpoints []discovery.Endpoint // not before there is a difference
	n := 0
	for i := range s.Endpoints {
		if len(s.Endpoints[i].Addresses) == 0 {
			continue
		}
		e := endpointOf(s.Endpoints[i])
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
	of    []grpcresolver.Endpoint
	asked int
	index map[discovery.Identity][]grpcresolver.Address // nil before it is worth it
}

func (a *addresses) find(id discovery.Identity) []grpcresolver.Address {
	const few = 4
	if a.asked++; a.asked > few && a.index == nil {
		a.index = make(map[discovery.Identity][]grpcresolver.Address, len(a.of))
	}
	if found, ok := a.index[id]; ok {
		return found
	}
	for _, e := range a.of {
		if len(e.Addresses) == 0 {
			continue
		}
		endpoint := endpointOf(e)
		if a.index != nil {
			a.index[endpoint.Identity()] = e.Addresses
		} else if endpoint.Identity() == id {
			return e.Addresses
		}
	}
	return a.index[id]
}

func endpointOf(e grpcresolver.Endpoint) *discovery.Endpoint {
	if known, ok := resolver.EndpointOf(e); ok {
		return known
	}
	// Another resolver made it, which knows an address and nothing else.
	endpoint := &discovery.Endpoint{Ready: true, Serving: true}
	var err error
	if endpoint.Addr, err = netip.ParseAddrPort(e.Addresses[0].Addr); err != nil {
		endpoint.UID = e.Addresses[0].Addr // a host name or a Unix socket
	}
	return endpoint
}
