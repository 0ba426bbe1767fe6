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
	// Read-only.
	allowLocal bool   // see Config.AllowLocalAddresses
	family     string // see Config.Family

	port   portRule // what the rest is for
	parsed map[*kubeapi.EndpointSlice]*parsedSlice
	sorted []entry // the endpoints of all parsed slices

	made   []discovery.Endpoint // the last Snapshot's
	joined bool                 // whether they may have an address in another family
}

// A parsedSlice is what a slice holds for one port.
type parsedSlice struct {
	refused  []error
	portless int  // endpoints without the port
	gone     bool // the slice is no more
}

// An entry is an endpoint of a slice. It is small, because there is one for each
// endpoint beside those of the last Snapshot.
type entry struct {
	addr netip.Addr
	port *slicePort
	of   *kubeapi.Endpoint
	made int32 // one more than its index in memo.made; 0 if it is not there
}

// A slicePort is a port that a slice has for all its endpoints.
type slicePort struct {
	port
	slice *parsedSlice
}

// parse returns each slice parsed for the port, and brings sorted up to date.
// Objects of the API are never changed, so that what was parsed once is good
// until the object is replaced.
func (m *memo) parse(current []*kubeapi.EndpointSlice, port portRule) []*parsedSlice {
	if m.port != port {
		*m = memo{allowLocal: m.allowLocal, family: m.family, port: port}
	}
	known := m.parsed
	m.parsed = make(map[*kubeapi.EndpointSlice]*parsedSlice, len(current))
	all := make([]*parsedSlice, 0, len(current))
	var fresh []*entry
	for _, slice := range current {
		one := known[slice]
		if one == nil {
			one = new(parsedSlice)
			fresh = one.parse(slice, port, m.allowLocal, fresh)
		}
		delete(known, slice)
		m.parsed[slice] = one
		all = append(all, one)
	}
	for _, one := range known {
		one.gone = true
	}
	slices.SortFunc(fresh, byAddress)
	m.replace(fresh)
	return all
}

// replace takes the entries of slices that are gone out of those that are sorted,
// and puts in the fresh ones, which are sorted too. It works in place, and goes
// through all of them in the order in which they lie in memory.
func (m *memo) replace(fresh []*entry) {
	left := 0
	for i := range m.sorted {
		if e := &m.sorted[i]; !e.port.slice.gone {
			m.sorted[left] = *e
			left++
		}
	}
	all := m.sorted
	if n := left + len(fresh); n <= cap(all) {
		clear(all[min(n, len(all)):])
		all = all[:n]
	} else {
		all = make([]entry, n)
		copy(all, m.sorted[:left])
	}
	m.sorted = all
	for to := len(all) - 1; len(fresh) > 0; to-- {
		if last := fresh[len(fresh)-1]; left > 0 && byAddress(&all[left-1], last) > 0 {
			left--
			all[to] = all[left]
		} else {
			fresh = fresh[:len(fresh)-1]
			all[to] = *last
		}
	}
}

// parse appends the entries of a slice to fresh.
func (p *parsedSlice) parse(slice *kubeapi.EndpointSlice, port portRule, allowLocal bool, fresh []*entry) []*entry {
	ports := port.serves(slice)
	for _, of := range ports {
		fresh = p.add(slice.Endpoints, &slicePort{of, p}, allowLocal, fresh)
	}
	if len(ports) == 0 {
		p.portless = len(slice.Endpoints)
	}
	return fresh
}

func (p *parsedSlice) add(endpoints []kubeapi.Endpoint, port *slicePort, allowLocal bool, fresh []*entry) []*entry {
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
		fresh = append(fresh, &entry{addr: addr, port: port, of: e})
	}
	return fresh
}

func parseAddr(s string, allowLocal bool) (netip.Addr, error) {
	addr, err := parseIP(s)
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

// The meaning of conditions that are absent is that of KEP-1672.
func (e *entry) ready() bool       { return isTrue(e.of.Conditions.Ready, true) }
func (e *entry) serving() bool     { return isTrue(e.of.Conditions.Serving, true) }
func (e *entry) terminating() bool { return isTrue(e.of.Conditions.Terminating, false) }

// endpoint returns what e tells.
func (e *entry) endpoint() discovery.Endpoint {
	endpoint := discovery.Endpoint{
		Addr:        netip.AddrPortFrom(e.addr, e.port.number),
		UID:         e.uid(),
		Node:        e.of.NodeName,
		Zone:        e.of.Zone,
		Ready:       e.ready(),
		Serving:     e.serving(),
		Terminating: e.terminating(),
		AppProtocol: e.port.appProtocol,
	}
	if ref := e.of.TargetRef; ref != nil && ref.Kind == "Pod" {
		endpoint.Pod = ref.Name
	}
	if hints := e.of.Hints; hints != nil {
		endpoint.Hints = discovery.Hints{Zones: hints.ForZones, Nodes: hints.ForNodes}
	}
	return endpoint
}

// endpoints returns what the entries tell. What was made of them for the last
// Snapshot is copied: that is quicker than to gather it from all over the memory.
func (m *memo) endpoints(entries []*entry) []discovery.Endpoint {
	endpoints := make([]discovery.Endpoint, len(entries))
	for i, e := range entries {
		if e.made > 0 {
			endpoints[i] = m.made[e.made-1]
		} else {
			endpoints[i] = e.endpoint()
		}
		e.made = int32(i + 1)
	}
	m.made = endpoints
	return endpoints
}

func (e *entry) uid() string {
	if e.of.TargetRef == nil {
		return ""
	}
	return e.of.TargetRef.UID
}

func isTrue(condition *bool, absent bool) bool {
	if condition == nil {
		return absent
	}
	return *condition
}
