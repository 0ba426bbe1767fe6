package kube

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/internal/kubeapi"
)

// merge makes a Snapshot of what is known. It depends on nothing else, in
// particular not on the order in which it came to be known. The error says
// which addresses it refused, if any.
//
// It joins slices as kube-proxy does; see endpointsFromSlices in its
// endpointslicecache.go.
func merge(target discovery.Target, f facts, allowLocal bool) (*discovery.Snapshot, error) {
	if err := f.unservable(target); err != nil {
		return &discovery.Snapshot{Reason: fmt.Errorf("%s: %w", target, err)}, nil
	}
	current := f.currentSlices()
	port, err := choosePort(target.Port, f, current)
	if err != nil {
		return &discovery.Snapshot{Reason: fmt.Errorf("%s: %w", target, err)}, nil
	}
	found := collect(current, port, allowLocal)
	snapshot := discovery.NewSnapshot(oneFamily(found.endpoints, f.prefersIPv6()))
	snapshot.LocalOnly = f.service != nil && f.service.Spec.InternalTrafficPolicy == kubeapi.PolicyLocal
	refused := found.refusal()
	switch {
	case len(snapshot.Endpoints) > 0:
	case refused != nil:
		snapshot.Reason = fmt.Errorf("%s: %w: %w", target, discovery.ErrNoEndpoints, refused)
	case found.portless > 0:
		snapshot.Reason = fmt.Errorf("%s: %w: none of its %d pods declares the port", target, discovery.ErrPortNotFound, found.portless)
	}
	return snapshot, refused
}

// unservable says why the Service cannot have endpoints, if so. A deleted
// Service has none although its slices stay until they are garbage-collected.
func (f *facts) unservable(target discovery.Target) error {
	switch {
	case f.serviceRead && f.service == nil:
		return fmt.Errorf("%w: namespace %s has no Service %s", discovery.ErrServiceNotFound, target.Namespace, target.Service)
	case f.service != nil && f.service.Spec.Type == kubeapi.ServiceTypeExternalName:
		return newExternalNameError(f.service, target.Port)
	}
	return nil
}

// currentSlices returns, sorted by name, the slices that count. Those with host
// names in place of addresses do not; Kubernetes defines no meaning for them.
// Neither do those of an earlier Service of the same name.
func (f *facts) currentSlices() []*kubeapi.EndpointSlice {
	var current []*kubeapi.EndpointSlice
	for _, name := range slices.Sorted(maps.Keys(f.slices)) {
		slice := f.slices[name]
		if slice.AddressType != kubeapi.AddressTypeIPv4 && slice.AddressType != kubeapi.AddressTypeIPv6 {
			continue
		}
		if f.service != nil && slices.ContainsFunc(slice.OwnerReferences, f.isEarlierService) {
			continue
		}
		current = append(current, slice)
	}
	return current
}

func (f *facts) isEarlierService(owner kubeapi.OwnerReference) bool {
	return owner.Kind == "Service" && owner.UID != f.service.UID
}

// prefersIPv6 reports whether IPv6 is the Service's first address family.
func (f *facts) prefersIPv6() bool {
	return f.service != nil && len(f.service.Spec.IPFamilies) > 0 && f.service.Spec.IPFamilies[0] == "IPv6"
}

// found is what slices hold for one port.
type found struct {
	endpoints []discovery.Endpoint
	index     map[netip.AddrPort]int // where in endpoints the one of an address is
	refused   []error
	portless  int // endpoints in slices that lack the port
}

// collect joins slices that are sorted by name.
func collect(current []*kubeapi.EndpointSlice, port portRule, allowLocal bool) found {
	n := 0
	for _, slice := range current {
		n += len(slice.Endpoints)
	}
	found := found{endpoints: make([]discovery.Endpoint, 0, n), index: make(map[netip.AddrPort]int, n)}
	for _, slice := range current {
		matched := false
		for _, p := range tcpPorts(slice) {
			if port.matches(p) {
				matched = true
				found.add(slice.Endpoints, p.number, allowLocal)
			}
		}
		if !matched {
			found.portless += len(slice.Endpoints)
		}
	}
	return found
}

func (f *found) add(endpoints []kubeapi.Endpoint, port uint16, allowLocal bool) {
	for i := range endpoints {
		e := &endpoints[i]
		if len(e.Addresses) == 0 {
			continue
		}
		// The others are not used, by nobody: https://issue.k8s.io/106267
		addr, err := parseAddr(e.Addresses[0], allowLocal)
		if err != nil {
			f.refused = append(f.refused, err)
			continue
		}
		at := netip.AddrPortFrom(addr, port)
		// The network may give a pod the address of one that is still
		// terminating: https://issue.k8s.io/135266
		terminating := isTrue(e.Conditions.Terminating, false)
		switch known, exists := f.index[at]; {
		case !exists:
			f.index[at] = len(f.endpoints)
			f.endpoints = append(f.endpoints, newEndpoint(at, e))
		case !terminating:
			f.endpoints[known] = newEndpoint(at, e)
		}
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

// refusal makes one error of all refused addresses.
func (f *found) refusal() error {
	switch len(f.refused) {
	case 0:
		return nil
	case 1:
		return f.refused[0]
	default:
		first := slices.MinFunc(f.refused, func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
		return fmt.Errorf("%d addresses refused, such as this: %w", len(f.refused), first)
	}
}

// oneFamily returns the endpoints of one address family: a dual-stack pod is in
// the slices of both, and would otherwise count twice. It is the preferred one,
// or the other while it has usable endpoints and the preferred one has none.
func oneFamily(all []discovery.Endpoint, ipv6 bool) []discovery.Endpoint {
	isOther := func(e discovery.Endpoint) bool { return e.Addr.Addr().Is6() != ipv6 }
	if !slices.ContainsFunc(all, isOther) {
		return all
	}
	var preferred, other []discovery.Endpoint
	for _, e := range all {
		if isOther(e) {
			other = append(other, e)
		} else {
			preferred = append(preferred, e)
		}
	}
	if slices.ContainsFunc(preferred, usable) || len(other) == 0 {
		return preferred
	}
	if slices.ContainsFunc(other, usable) || len(preferred) == 0 {
		return other
	}
	return preferred
}

// usable reports whether kube-proxy would ever send traffic to e: to one that is
// ready, or else to one that still serves while it terminates (KEP-1669). On
// which node or in which zone it runs is left to discovery/topology.
func usable(e discovery.Endpoint) bool { return e.Ready || e.Serving && e.Terminating }
