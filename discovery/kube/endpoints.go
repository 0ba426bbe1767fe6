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
func mirror(o *kubeapi.EndpointSlice) map[string]*kubeapi.EndpointSlice {
	slices := make(map[string]*kubeapi.EndpointSlice, len(o.Subsets))
	for i := range o.Subsets {
		s := &o.Subsets[i]
		slice := &kubeapi.EndpointSlice{AddressType: kubeapi.AddressTypeIPv4, Ports: s.Ports}
		unready := len(s.NotReadyAddresses)
		s.NotReadyAddresses = append(s.NotReadyAddresses, s.Addresses...)
		for j := range s.NotReadyAddresses {
			a, ready := &s.NotReadyAddresses[j], j >= unready
			slice.Endpoints = append(slice.Endpoints, kubeapi.Endpoint{
				Addresses:  []string{a.IP},
				Conditions: kubeapi.Conditions{Ready: &ready},
				NodeName:   a.NodeName,
				TargetRef:  a.TargetRef,
			})
		}
		slices[strconv.Itoa(i)] = slice
	}
	return slices
}

// An endpointsHandler puts into a state what is read of the Endpoints object, in
// place of slices.
type endpointsHandler struct{ teller }

func (s *state) ofEndpoints(f *feed) *endpointsHandler {
	return &endpointsHandler{teller{state: s, kind: endpointSlices, feed: f, legacy: true}}
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
	h.facts.slices = mirror(o)
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
