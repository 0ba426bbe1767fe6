package kube

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/internal/kubeapi"
)

// A memo holds the slices that have been parsed and their endpoints in order,
// since an event changes one slice of many. It belongs to one publisher.
type memo struct {
	allowLocal bool // see Config.AllowLocalAddresses; read-only

	port   portRule // what the rest is for
	parsed map[*kubeapi.EndpointSlice]*parsedSlice
	sorted []*entry // the endpoints of all parsed slices
}

// A parsedSlice is what a slice holds for one port.
type parsedSlice struct {
	entries  []entry
	refused  []error
	portless int  // endpoints without the port
	gone     bool // the slice is no more
}

// An entry is an endpoint of a slice.
type entry struct {
	discovery.Endpoint
	slice *parsedSlice
}

// parse returns each slice parsed for the port, and brings sorted up to date.
// Objects of the API are never changed, so that what was parsed once is good
// until the object is replaced.
func (m *memo) parse(current []*kubeapi.EndpointSlice, port portRule) []*parsedSlice {
	if m.port != port {
		*m = memo{allowLocal: m.allowLocal, port: port}
	}
	known := m.parsed
	m.parsed = make(map[*kubeapi.EndpointSlice]*parsedSlice, len(current))
	all := make([]*parsedSlice, 0, len(current))
	var fresh []*entry
	for _, slice := range current {
		one := known[slice]
		if one == nil {
			one = parseSlice(slice, port, m.allowLocal)
			for i := range one.entries {
				fresh = append(fresh, &one.entries[i])
			}
		}
		delete(known, slice)
		m.parsed[slice] = one
		all = append(all, one)
	}
	for _, one := range known {
		one.gone = true
	}
	slices.SortFunc(fresh, byAddress)
	m.sorted = replace(m.sorted, fresh)
	return all
}

// replace leaves out of old the entries of slices that are gone, and puts in the
// fresh ones. Both are sorted, as is the result.
func replace(old, fresh []*entry) []*entry {
	joined := make([]*entry, 0, len(old)+len(fresh))
	for _, e := range old {
		if e.slice.gone {
			continue
		}
		for len(fresh) > 0 && byAddress(fresh[0], e) < 0 {
			joined, fresh = append(joined, fresh[0]), fresh[1:]
		}
		joined = append(joined, e)
	}
	return append(joined, fresh...)
}

func parseSlice(slice *kubeapi.EndpointSlice, port portRule, allowLocal bool) *parsedSlice {
	parsed := &parsedSlice{}
	matched := false
	for _, p := range tcpPorts(slice) {
		if port.matches(p) {
			matched = true
			parsed.add(slice.Endpoints, p.number, allowLocal)
		}
	}
	if !matched {
		parsed.portless = len(slice.Endpoints)
	}
	return parsed
}

func (p *parsedSlice) add(endpoints []kubeapi.Endpoint, port uint16, allowLocal bool) {
	p.entries = slices.Grow(p.entries, len(endpoints))
	for i := range endpoints {
		e := &endpoints[i]
		if len(e.Addresses) == 0 {
			continue
		}
		// The others are not used, by nobody: https://issue.k8s.io/106267
		addr, err := parseAddr(e.Addresses[0], allowLocal)
		if err != nil {
			p.refused = append(p.refused, err)
			continue
		}
		p.entries = append(p.entries, entry{newEndpoint(netip.AddrPortFrom(addr, port), e), p})
	}
}

func parseAddr(s string, allowLocal bool) (netip.Addr, error) {
	addr, err := netip.ParseAddr(s)
	switch {
	case err != nil:
		return addr, err
	case addr.Zone() != "":
		return addr, fmt.Errorf("address %v has a zone", addr)
	}
	addr = addr.Unmap()
	if allowLocal {
		return addr, nil
	}
	return addr, discovery.CheckAddr(addr)
}

// newEndpoint applies the meaning that KEP-1672 gives to absent conditions.
func newEndpoint(at netip.AddrPort, e *kubeapi.Endpoint) discovery.Endpoint {
	endpoint := discovery.Endpoint{
		Addr:        at,
		Node:        e.NodeName,
		Zone:        e.Zone,
		Ready:       isTrue(e.Conditions.Ready, true),
		Serving:     isTrue(e.Conditions.Serving, true),
		Terminating: isTrue(e.Conditions.Terminating, false),
	}
	if ref := e.TargetRef; ref != nil {
		endpoint.UID = ref.UID
		if ref.Kind == "Pod" {
			endpoint.Pod = ref.Name
		}
	}
	if e.Hints != nil {
		endpoint.Hints = discovery.Hints{Zones: names(e.Hints.ForZones), Nodes: names(e.Hints.ForNodes)}
	}
	return endpoint
}

func isTrue(condition *bool, absent bool) bool {
	if condition == nil {
		return absent
	}
	return *condition
}

func names(hints []kubeapi.Hint) []string {
	var names []string
	for _, h := range hints {
		names = append(names, h.Name)
	}
	return names
}
