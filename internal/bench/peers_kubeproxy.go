package main

import (
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/kubernetes/pkg/proxy"
)

// A place is where a client, or a kube-proxy, runs: a node and its labels.
type place struct {
	node   string
	labels map[string]string
}

// kubeProxy returns the addresses of the endpoints to which kube-proxy at that
// place sends the connections that clients there make to the Service's cluster
// IP. It takes the way that the proxiers of kube-proxy take: the trackers read
// the objects, and CategorizeEndpoints decides.
func kubeProxy(at place, service *corev1.Service, slice *discoveryv1.EndpointSlice) []string {
	services := proxy.NewServiceChangeTracker(corev1.IPv4Protocol, nil, nil)
	services.Update(nil, service)
	ports := proxy.ServicePortMap{}
	ports.Update(services)

	slices := proxy.NewEndpointsChangeTracker(corev1.IPv4Protocol, at.node, nil, nil)
	slices.EndpointSliceUpdate(slice, false)
	endpoints := proxy.EndpointsMap{}
	endpoints.Update(slices)

	var addresses []string
	for name, port := range ports { // there is one
		chosen, local, _, _ := proxy.CategorizeEndpoints(endpoints[name], port, at.node, at.labels)
		if port.InternalPolicyLocal() {
			chosen = local
		}
		for _, e := range chosen {
			addresses = append(addresses, e.String())
		}
	}
	return addresses
}
