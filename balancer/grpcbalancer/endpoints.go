package grpcbalancer

import (
	"net/netip"

	grpcresolver "google.golang.org/grpc/resolver"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/resolver"
)

// endpointsOf returns the endpoints of a resolver's state, and the address to
// connect to for each.
func endpointsOf(s grpcresolver.State) ([]discovery.Endpoint, map[discovery.Identity]grpcresolver.Address) {
	endpoints := make([]discovery.Endpoint, 0, len(s.Endpoints))
	addresses := make(map[discovery.Identity]grpcresolver.Address, len(s.Endpoints))
	for _, e := range s.Endpoints {
		if len(e.Addresses) == 0 {
			continue
		}
		endpoint := endpointOf(e)
		endpoints = append(endpoints, endpoint)
		addresses[endpoint.Identity()] = e.Addresses[0]
	}
	return endpoints, addresses
}

func endpointOf(e grpcresolver.Endpoint) discovery.Endpoint {
	if known, ok := resolver.EndpointOf(e); ok {
		return *known
	}
	// Another resolver made it, which knows an address and nothing else.
	endpoint := discovery.Endpoint{Ready: true, Serving: true}
	var err error
	if endpoint.Addr, err = netip.ParseAddrPort(e.Addresses[0].Addr); err != nil {
		endpoint.UID = e.Addresses[0].Addr // a host name or a Unix socket
	}
	return endpoint
}
