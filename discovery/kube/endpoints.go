package kube

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/sidestep-lb/sidestep/internal/kubeapi"
)

// An API is one of the two that tell a Service's endpoints.
type API string

// The two APIs. Endpoints is the legacy one, deprecated since Kubernetes 1.33,
// for clusters and Roles that offer nothing else. It knows no zones, no hints and
// no pods that terminate, and no more than 1000 endpoints of one address family;
// that it leaves some out is reported in Snapshot.Degraded. It takes the rule
// {apiGroups: [""], resources: [endpoints], verbs: [list, watch]} in a Role. Each
// Service has its own watch of it, however many there are.
const (
	EndpointSlices API = "EndpointSlices"
	Endpoints      API = "Endpoints"
)

// mirror makes the slices that the EndpointSlice mirroring controller would make
// of an Endpoints object, one for each subset, with no other condition than
// ready. Here a slice may hold both address families.
//
// An address that is ready in one subset and not ready in another for the same port
// is not ready, as in RepackSubsets, which that controller calls first.
func mirror(o *kubeapi.EndpointSlice) map[string]*kubeapi.EndpointSlice {
	slices := make(map[string]*kubeapi.EndpointSlice, len(o.Subsets))
	unready := unreadyIn(o.Subsets)
	for i := range o.Subsets {
		s := &o.Subsets[i]
		if !unready.contradicts(s) {
			slices[strconv.Itoa(i)] = mirrorSubset(s, s.Ports, nil)
			continue
		}
		for j := range s.Ports {
			slices[fmt.Sprintf("%d, port %d", i, j)] = mirrorSubset(s, s.Ports[j:j+1], unready)
		}
	}
	return slices
}

// mirrorSubset makes a slice of a subset and some of its ports. An address is
// ready if the subset says so and none of the unready is this address and port.
func mirrorSubset(s *kubeapi.Subset, ports []kubeapi.EndpointPort, unready unready) *kubeapi.EndpointSlice {
	slice := &kubeapi.EndpointSlice{AddressType: kubeapi.AddressTypeIPv4, Ports: ports}
	add := func(addresses []kubeapi.SubsetAddress, ready bool) {
		for i := range addresses {
			a := &addresses[i]
			ready := ready && (len(unready) == 0 || !unready[unreadyKey(a, &ports[0])])
			slice.Endpoints = append(slice.Endpoints, kubeapi.Endpoint{
				Addresses:  []string{a.IP},
				Conditions: kubeapi.Conditions{Ready: &ready},
				NodeName:   a.NodeName,
				TargetRef:  a.TargetRef,
			})
		}
	}
	add(s.NotReadyAddresses, false)
	add(s.Addresses, true)
	return slice
}

// unready holds the addresses that are not ready, with their ports.
type unready map[addressPort]bool

// An addressPort is what RepackSubsets tells apart: an address of a pod, and a port.
type addressPort struct {
	ip, uid        string
	name, protocol string
	appProtocol    string
	number         int32
}

func unreadyKey(a *kubeapi.SubsetAddress, p *kubeapi.EndpointPort) addressPort {
	key := addressPort{ip: a.IP, protocol: kubeapi.ProtocolTCP, appProtocol: p.AppProtocol}
	if a.TargetRef != nil {
		key.uid = a.TargetRef.UID
	}
	if p.Name != nil {
		key.name = *p.Name
	}
	if p.Protocol != nil {
		key.protocol = *p.Protocol
	}
	if p.Port != nil {
		key.number = *p.Port
	}
	return key
}

func unreadyIn(subsets []kubeapi.Subset) unready {
	u := make(unready)
	for i := range subsets {
		s := &subsets[i]
		for j := range s.NotReadyAddresses {
			for k := range s.Ports {
				u[unreadyKey(&s.NotReadyAddresses[j], &s.Ports[k])] = true
			}
		}
	}
	return u
}

// contradicts reports whether an address that is ready in the subset is not.
func (u unready) contradicts(s *kubeapi.Subset) bool {
	if len(u) == 0 {
		return false
	}
	for i := range s.Addresses {
		for j := range s.Ports {
			if u[unreadyKey(&s.Addresses[i], &s.Ports[j])] {
				return true
			}
		}
	}
	return false
}

// An endpointsHandler puts into a state what is read of the Endpoints object, in
// place of slices.
type endpointsHandler struct{ feedWriter }

func (s *state) ofEndpoints(f *feed) *endpointsHandler {
	return &endpointsHandler{feedWriter{state: s, kind: endpointSlices, feed: f, legacy: true}}
}

func (h *endpointsHandler) Replace(objects []*kubeapi.EndpointSlice) {
	// There is none of a Service that has neither a selector nor one made by hand.
	now := &kubeapi.EndpointSlice{}
	now.Name = h.name
	for _, o := range objects {
		if o.Name == h.name {
			now = o
		}
	}
	h.Apply(kubeapi.Modified, now)
}

func (h *endpointsHandler) Apply(kind string, o *kubeapi.EndpointSlice) {
	r := h.begin()
	if r == nil {
		return
	}
	defer h.end()
	if o.Name != h.name || r.listed && !r.mirrored {
		return // another Service's, or slices can be read again
	}
	if kind == kubeapi.Deleted {
		o.Subsets = nil
	}
	h.known.slices = mirror(o)
	h.version++
	r.listed, r.mirrored, r.err = true, true, nil
	switch {
	case o.Annotations.OverCapacity == kubeapi.OverCapacityTruncated:
		r.degraded = errTruncated
	case r.instead != nil:
		r.degraded = fmt.Errorf("from the Endpoints API, as EndpointSlices cannot be read: %w", r.instead)
	default:
		r.degraded = nil
	}
}

var errTruncated = errors.New("from the Endpoints API, which leaves out all but 1000 endpoints")
