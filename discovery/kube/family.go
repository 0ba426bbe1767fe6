package kube

import (
	"net/netip"
	"slices"
	"sort"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/internal/kubeapi"
)

// prefersIPv6 reports whether IPv6 is the Service's first address family.
func (f *serviceState) prefersIPv6() bool {
	return f.service != nil && len(f.service.Spec.IPFamilies) > 0 && f.service.Spec.IPFamilies[0] == kubeapi.AddressTypeIPv6
}

// joinFamilies makes endpoints of entries that are sorted by address. Where the
// Config names a family, they are those of that family.
//
// Otherwise they are those of the preferred family, each with the address that
// its pod has in the other one: a pod of two families is in the slices of both,
// and would count twice. kube-proxy serves each family for itself, so that a pod
// which is not yet, or no longer, in the slices of one has no part in that one's
// traffic; it has none here either. But a client whose connections the first
// family refuses goes to the second. So while that has usable endpoints and the
// first has none, or none at all, they change places.
func (m *memo) joinFamilies(all []*entry, ipv6 bool) []discovery.Endpoint {
	if m.family != "" {
		ipv6 = m.family == kubeapi.AddressTypeIPv6
	}
	split := sort.Search(len(all), func(i int) bool { return all[i].addr.Is6() })
	first, second := all[:split], all[split:]
	if ipv6 {
		first, second = second, first
	}
	switch {
	case m.family != "":
		second = nil
	case len(second) > 0 && !slices.ContainsFunc(first, usable) &&
		(len(first) == 0 || slices.ContainsFunc(second, usable)):
		first, second = second, first
	}
	for _, e := range second {
		e.made = 0
	}
	pods := podsOf(second)
	endpoints := m.endpoints(first)
	if len(pods) > 0 || m.joined { // those copied may be out of date
		for i := range endpoints {
			endpoints[i].AltAddr = pods.at(&endpoints[i])
		}
	}
	m.joined = len(pods) > 0
	return endpoints
}

// usable reports whether kube-proxy would ever send traffic to e: to one that is
// ready, or else to one that still serves while it terminates (KEP-1669). On
// which node or in which zone it runs is left to discovery/topology.
func usable(e *entry) bool {
	return e.ready() || e.serving() && e.terminating()
}

// pods tells where a pod listens. The first address of each pod is under its UID
// and port 0; any others, of pods that are listed with several ports, are under
// their port.
type pods map[podPort]*entry

type podPort struct {
	uid  string
	port uint16
}

func podsOf(entries []*entry) pods {
	if len(entries) == 0 {
		return nil
	}
	p := make(pods, len(entries))
	for _, e := range entries {
		key := podPort{uid: e.uid()}
		if key.uid == "" {
			continue
		}
		if p[key] != nil {
			key.port = e.port.number
		}
		if p[key] == nil {
			p[key] = e
		}
	}
	return p
}

// at returns where the pod of e listens, with the port of e if it can be. It is
// invalid if the pod is not there.
func (p pods) at(e *discovery.Endpoint) netip.AddrPort {
	key := podPort{uid: e.UID}
	found := p[key]
	if found == nil {
		return netip.AddrPort{}
	}
	key.port = e.Addr.Port()
	if same := p[key]; same != nil && found.port.number != key.port {
		found = same
	}
	return netip.AddrPortFrom(found.addr, found.port.number)
}
