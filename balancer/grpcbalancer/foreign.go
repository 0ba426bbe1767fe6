package grpcbalancer

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	grpcresolver "google.golang.org/grpc/resolver"

	"github.com/sidestep-lb/sidestep/discovery"
)

// foreign are the endpoints of resolvers of others, which know addresses and
// nothing else. What an address is for gRPC, its Addr, ServerName and Attributes,
// tells connections apart; its BalancerAttributes and an Endpoint's Attributes do
// not, nor does the order of an endpoint's addresses.
type foreign struct {
	known map[string][]*foreignEndpoint // of the last update, by key
	next  map[string][]*foreignEndpoint // of this one
	made  int
}

type foreignEndpoint struct {
	discovery.Endpoint
	addresses []grpcresolver.Address
}

// endpoint returns the endpoint with these addresses: the same as in the last
// update, if it was there.
func (f *foreign) endpoint(addresses []grpcresolver.Address) *discovery.Endpoint {
	key := keyOf(addresses)
	for _, e := range f.next[key] {
		if sameAddresses(e.addresses, addresses) {
			return &e.Endpoint
		}
	}
	if f.next == nil {
		f.next = make(map[string][]*foreignEndpoint)
	}
	for _, e := range f.known[key] {
		if sameAddresses(e.addresses, addresses) {
			f.next[key] = append(f.next[key], e)
			return &e.Endpoint
		}
	}
	e := &foreignEndpoint{addresses: slices.Clone(addresses)} // not all that the resolver said with them
	e.Ready, e.Serving = true, true
	var err error
	if e.Addr, err = netip.ParseAddrPort(addresses[0].Addr); err != nil || len(addresses) > 1 || addresses[0].ServerName != "" {
		e.UID = key // a host name or a Unix socket, or more than an address
	}
	if len(f.known[key])+len(f.next[key]) > 0 { // with other Attributes
		f.made++
		e.UID = fmt.Sprintf("%s#%d", key, f.made)
	}
	f.next[key] = append(f.next[key], e)
	return &e.Endpoint
}

// keyOf is the same for the same addresses in any order, whatever their
// Attributes.
func keyOf(addresses []grpcresolver.Address) string {
	if len(addresses) == 1 && addresses[0].ServerName == "" {
		return addresses[0].Addr
	}
	keys := make([]string, len(addresses))
	for i, a := range addresses {
		keys[i] = a.Addr
		if a.ServerName != "" {
			keys[i] += " as " + a.ServerName
		}
	}
	slices.Sort(keys)
	return strings.Join(keys, ", ")
}

func sameAddresses(a, b []grpcresolver.Address) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(x grpcresolver.Address) bool {
		return !slices.ContainsFunc(b, func(y grpcresolver.Address) bool { return sameAddress(x, y) })
	})
}

// sameAddress is how gRPC's own policies compare what a SubConn is made for.
func sameAddress(a, b grpcresolver.Address) bool {
	return a.Addr == b.Addr && a.ServerName == b.ServerName && a.Attributes.Equal(b.Attributes)
}

// find returns the addresses of an endpoint; nil if it is none of these.
func (f *foreign) find(id discovery.Identity) []grpcresolver.Address {
	for _, list := range f.known {
		for _, e := range list {
			if e.Identity() == id {
				return e.addresses
			}
		}
	}
	return nil
}

// updated is called when all endpoints of an update have been asked for.
func (f *foreign) updated() { f.known, f.next = f.next, nil }
