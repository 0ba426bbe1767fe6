package kube

import (
	"fmt"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/internal/kubeapi"
)

// An outside sees a Service from outside its cluster: as though its pods were the
// nodes, or its load balancer. All else is as it is for pods.
type outside struct {
	target discovery.Target
	state  *state
	nodes  *state // that of theCluster; nil unless the target goes by node ports
}

// theNodes is what an explanation calls them.
const theNodes = "the Nodes for the node port"

// view is what state.view is for those inside.
func (o *outside) view() view {
	s := o.state
	s.mu.Lock()
	v := view{changed: s.changed, known: s.known, version: s.version}
	pods, service := s.readStates[endpointSlices], s.readStates[theService]
	var serving map[string]bool // nil unless the policy is Local
	if s.known.service != nil && s.known.service.Spec.ExternalTrafficPolicy == kubeapi.PolicyLocal {
		serving = s.known.servingNodes()
	}
	s.mu.Unlock()

	v.known.slices, v.known.serviceRead, v.complete = nil, service.listed, service.listed
	what, err := "the Service itself", service.err
	switch {
	case v.known.service == nil:
	case o.nodes == nil:
		o.loadBalancer(&v)
	default:
		found, nodes := o.nodes.nodePorts(&v, serving)
		o.put(&v, found)
		v.complete = v.complete && nodes.listed
		if err == nil {
			what, err = theNodes, nodes.err
		}
		if serving != nil {
			v.complete = v.complete && pods.listed
			if err == nil {
				what, err = pods.what(), pods.err
			}
		}
	}
	if err != nil {
		v.err = explain(o.target, what, err)
	}
	return v
}

// put puts what was found in the place of the pods.
func (o *outside) put(v *view, found []kubeapi.Endpoint) {
	slice := &kubeapi.EndpointSlice{AddressType: kubeapi.AddressTypeIPv4} // of IPv6 as well
	service := &v.known.service.Spec
	for i := range service.Ports {
		p := &service.Ports[i]
		port := kubeapi.EndpointPort{Name: &p.Name, Port: &p.Port, AppProtocol: p.AppProtocol}
		if p.Protocol != "" {
			port.Protocol = &p.Protocol
		}
		if o.nodes != nil {
			port.Port = &p.NodePort
		}
		if *port.Port != 0 {
			slice.Ports, slice.Endpoints = append(slice.Ports, port), found
		}
	}
	v.known.slices = map[string]*kubeapi.EndpointSlice{"": slice}
	if len(slice.Endpoints) == 0 {
		lacks := "load balancer with an address yet"
		if o.nodes != nil {
			lacks = "node that takes its traffic, not counting those labelled node.kubernetes.io/exclude-from-external-load-balancers"
		}
		v.none = fmt.Errorf("%s: %w: the Service is of type %s with externalTrafficPolicy %q, and has no %s",
			o.target, discovery.ErrNoEndpoints, service.Type, service.ExternalTrafficPolicy, lacks)
	}
}

// loadBalancer puts the addresses in the Service's status in the place of the
// pods. A host name counts where there is no address.
func (o *outside) loadBalancer(v *view) {
	var found []kubeapi.Endpoint
	name := ""
	for _, in := range v.known.service.Status.LoadBalancer.Ingress {
		if in.IP != "" {
			found = append(found, kubeapi.Endpoint{Addresses: []string{in.IP}})
		} else {
			name = in.Hostname
		}
	}
	o.put(v, found)
	if len(found) == 0 && name != "" {
		alias := newExternalNameError(v.known.service, o.target.Port)
		alias.Name, alias.balancer = name, true
		v.none = fmt.Errorf("%s: %w", o.target, alias)
	}
}
