package main

import (
	"fmt"

	"github.com/sidestep-lb/sidestep/discovery/kube/kubetest"
)

// addService puts a Service into the server, with slices as the EndpointSlice
// controller writes them, and returns those. Real ones are larger still, by
// their managedFields.
func addService(server *kubetest.Server, number, sliceCount, perSlice int) (string, []kubetest.EndpointSlice) {
	name := fmt.Sprintf("quiz-%d", number)
	service := kubetest.ClusterIPService(namespace, name, kubetest.Ports{portName: 80})
	service.UID = uid(number, 0)
	server.SetService(service)
	var made []kubetest.EndpointSlice
	for i := range sliceCount {
		var endpoints []kubetest.Endpoint
		for j := range perSlice {
			endpoints = append(endpoints, endpoint(number, i*perSlice+j))
		}
		slice := kubetest.Slice(namespace, name, fmt.Sprintf("%s-%05x", name, i), kubetest.Ports{portName: 8080}, endpoints...)
		slice.UID = uid(number, 1_000_000+i)
		slice.OwnerReferences = []kubetest.OwnerReference{
			{APIVersion: "v1", Kind: "Service", Name: name, UID: service.UID, Controller: new(true)},
		}
		slice.Annotations = map[string]string{"endpoints.kubernetes.io/last-change-trigger-time": "2026-08-01T12:00:00Z"}
		server.SetEndpointSlice(slice)
		made = append(made, slice)
	}
	return name, made
}

func endpoint(service, i int) kubetest.Endpoint {
	// Addresses come in no order: 7919 is a prime, so that none comes twice.
	n := (service*8 + i) * 7919 % 62500
	ip := fmt.Sprintf("10.1.%d.%d", n/250, 1+n%250)
	return kubetest.Ready(ip, fmt.Sprintf("quiz-%d-7c9f8d5b6c-%05x", service, i)).
		WithUID(uid(service, i)).
		OnNode(fmt.Sprintf("ip-10-0-%d-%d.eu-central-1.compute.internal", i%4, i%250)).
		InZone("eu-central-1" + string(rune('a'+i%3)))
}

// uid has the form of a real one.
func uid(service, i int) string {
	return fmt.Sprintf("%08x-%04x-4c1d-9e2f-%012x", i, service%0x10000, service<<24+i)
}

// setReady puts a slice into the server once more, with the readiness of one of
// its endpoints set.
func setReady(server *kubetest.Server, slice kubetest.EndpointSlice, i int, ready bool) {
	e := &slice.Endpoints[i]
	e.Conditions.Ready, e.Conditions.Serving = new(ready), new(ready)
	server.SetEndpointSlice(slice)
}
