package kube

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/internal/kubeapi"
)

// merge makes a Snapshot of what is known. It depends on nothing else, in
// particular not on the order in which it came to be known; memo only spares it
// work. The error says which addresses it refused, if any.
//
// It joins slices as kube-proxy does; see endpointsFromSlices in its
// endpointslicecache.go.
func merge(target discovery.Target, f serviceState, memo *memo) (*discovery.Snapshot, error) {
	if err := f.unservable(target); err != nil {
		return &discovery.Snapshot{Reason: fmt.Errorf("%s: %w", target, err)}, nil
	}
	current := f.currentSlices()
	if len(current) == 0 && len(f.slices) > 0 && f.service != nil && f.allEarlier() {
		return &discovery.Snapshot{Reason: fmt.Errorf("%s: %w: %w", target, discovery.ErrNoEndpoints, errEarlierSlices)}, nil
	}
	port, err := choosePort(target.Port, f, current)
	if err != nil {
		return &discovery.Snapshot{Reason: fmt.Errorf("%s: %w", target, err)}, nil
	}
	found := collect(current, port, memo)
	snapshot := &discovery.Snapshot{ // sorted as it has to be
		Endpoints:      memo.joinFamilies(found.endpoints, f.prefersIPv6()),
		LocalOnly:      f.localOnly(port),
		ClusterIP:      f.clusterIP(port, memo),
		ClientAffinity: f.clientAffinity(),
		Degraded:       f.degraded,
	}
	refused := found.refusal()
	switch {
	case len(snapshot.Endpoints) > 0:
	case refused != nil:
		snapshot.Reason = fmt.Errorf("%s: %w: %w", target, discovery.ErrNoEndpoints, refused)
	case len(found.endpoints) > 0:
		snapshot.Reason = fmt.Errorf("%s: %w: all of its %d are not %s", target, discovery.ErrNoEndpoints, len(found.endpoints), memo.family)
	case found.portless > 0:
		snapshot.Reason = fmt.Errorf("%s: %w: none of its %d pods declares the port", target, discovery.ErrPortNotFound, found.portless)
	}
	return snapshot, refused
}

func (f *serviceState) clientAffinity() bool {
	return f.service != nil && f.service.Spec.SessionAffinity == kubeapi.AffinityClientIP && f.service.Spec.ClusterIP != kubeapi.ClusterIPNone
}

// unservable says why the Service cannot have endpoints, if so. A deleted
// Service has none although its slices stay until they are garbage-collected.
func (f *serviceState) unservable(target discovery.Target) error {
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
func (f *serviceState) currentSlices() []*kubeapi.EndpointSlice {
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

// errEarlierSlices is the moment after a Service was deleted and made anew.
var errEarlierSlices = errors.New("its EndpointSlices are still those of an earlier Service of that name")

func (f *serviceState) allEarlier() bool {
	for _, slice := range f.slices {
		if !slices.ContainsFunc(slice.OwnerReferences, f.isEarlierService) {
			return false
		}
	}
	return true
}

// isEarlierService reports whether an owner of a slice can be an earlier Service
// of the same name. A slice belongs to a Service by its label alone: it may have any
// other owner, such as a parent Service that it is to be collected with, or a
// Knative Service (https://issue.k8s.io/94730).
func (f *serviceState) isEarlierService(owner kubeapi.OwnerReference) bool {
	return owner.APIVersion == "v1" && owner.Kind == "Service" && owner.Name == f.service.Name && owner.UID != f.service.UID
}

// found is what slices hold for one port.
type found struct {
	endpoints []*entry // sorted by address, with none twice
	refused   []error
	portless  int // endpoints in slices that lack the port
}

// collect joins slices.
func collect(current []*kubeapi.EndpointSlice, port portRule, memo *memo) found {
	var found found
	for _, parsed := range memo.parse(current, port) {
		found.refused = append(found.refused, parsed.refused...)
		found.portless += parsed.portless
	}
	found.endpoints = make([]*entry, 0, len(memo.sorted))
	for i := range memo.sorted {
		e := &memo.sorted[i]
		if last := len(found.endpoints) - 1; last >= 0 && compareAddress(found.endpoints[last], e) == 0 {
			e.made = 0
			continue
		}
		found.endpoints = append(found.endpoints, e)
	}
	return found
}

func byAddress(a, b *entry) int {
	if c := compareAddress(a, b); c != 0 {
		return c
	}
	return precedence(a.endpoint(), b.endpoint())
}

func compareAddress(a, b *entry) int {
	return cmp.Or(a.addr.Compare(b.addr), cmp.Compare(a.port.number, b.port.number))
}

// precedence is negative if a rather than b counts where both have the same
// address. One that is not terminating does before one that is: the network may
// give a pod the address of one that still terminates
// (https://issue.k8s.io/135266). Among several such kube-proxy takes any; here
// it is one that is ready, so that an endpoint which moves from slice to slice
// stays.
func precedence(a, b discovery.Endpoint) int {
	switch {
	case a.Terminating != b.Terminating:
		return first(b.Terminating)
	case a.Ready != b.Ready:
		return first(a.Ready)
	case a.Serving != b.Serving:
		return first(a.Serving)
	default:
		return cmp.Or(cmp.Compare(b.UID, a.UID), cmp.Compare(a.Pod, b.Pod), cmp.Compare(a.Node, b.Node), cmp.Compare(a.Zone, b.Zone), cmp.Compare(a.AppProtocol, b.AppProtocol),
			slices.Compare(a.Hints.Zones, b.Hints.Zones), slices.Compare(a.Hints.Nodes, b.Hints.Nodes))
	}
}

func first(yes bool) int {
	if yes {
		return -1
	}
	return 1
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
