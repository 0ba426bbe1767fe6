package kubetest

import (
	"maps"
	"slices"
	"strings"
)

// Ports maps port names to numbers; "" is the name of an unnamed port. All are
// TCP.
type Ports map[string]int32

// Slice is an EndpointSlice as the EndpointSlice controller writes it for a
// Service: it has the label kubernetes.io/service-name, and the namespace of
// its endpoints' pods filled in. It is of type IPv6 if its first endpoint's
// address is. Nil ports, and no endpoints at all, are sent as null; an empty
// Ports is sent as [].
func Slice(namespace, service, name string, ports Ports, endpoints ...Endpoint) EndpointSlice {
	slice := EndpointSlice{
		ObjectMeta: ObjectMeta{
			Name:      name,
			Namespace: namespace,
			Labels: map[string]string{
				"kubernetes.io/service-name":             service,
				"endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
			},
		},
		AddressType: "IPv4",
	}
	if ports != nil {
		slice.Ports = []EndpointPort{}
	}
	for _, name := range slices.Sorted(maps.Keys(ports)) {
		slice.Ports = append(slice.Ports, EndpointPort{Name: new(name), Port: new(ports[name]), Protocol: new("TCP")})
	}
	for _, endpoint := range endpoints {
		if endpoint.TargetRef != nil {
			ref := *endpoint.TargetRef
			ref.Namespace = namespace
			endpoint.TargetRef = &ref
		}
		slice.Endpoints = append(slice.Endpoints, endpoint)
	}
	if len(endpoints) > 0 && len(endpoints[0].Addresses) > 0 && strings.Contains(endpoints[0].Addresses[0], ":") {
		slice.AddressType = "IPv6"
	}
	return slice
}

// Ready is the endpoint of a pod that serves. Its UID is "uid-" and the pod's
// name; see [Endpoint.WithUID].
func Ready(ip, pod string) Endpoint {
	return podEndpoint(ip, pod, Conditions{Ready: new(true), Serving: new(true), Terminating: new(false)})
}

// NotReady is the endpoint of a pod that fails its readiness probe or has not
// passed it yet.
func NotReady(ip, pod string) Endpoint {
	return podEndpoint(ip, pod, Conditions{Ready: new(false), Serving: new(false), Terminating: new(false)})
}

// Terminating is the endpoint of a pod that was told to stop and still serves.
func Terminating(ip, pod string) Endpoint {
	return podEndpoint(ip, pod, Conditions{Ready: new(false), Serving: new(true), Terminating: new(true)})
}

func podEndpoint(ip, pod string, conditions Conditions) Endpoint {
	return Endpoint{
		Addresses:  []string{ip},
		Conditions: conditions,
		TargetRef:  &ObjectReference{Kind: "Pod", Name: pod, UID: "uid-" + pod},
	}
}

// OnNode is e on a node.
func (e Endpoint) OnNode(name string) Endpoint {
	e.NodeName = &name
	return e
}

// InZone is e in a zone.
func (e Endpoint) InZone(name string) Endpoint {
	e.Zone = &name
	return e
}

// WithUID is e of a pod with this UID: another pod of the same name or address
// has another.
func (e Endpoint) WithUID(uid string) Endpoint {
	ref := ObjectReference{Kind: "Pod"}
	if e.TargetRef != nil {
		ref = *e.TargetRef
	}
	ref.UID = uid
	e.TargetRef = &ref
	return e
}

// ForZones is e with hints to the clients in these zones.
func (e Endpoint) ForZones(names ...string) Endpoint {
	hints := e.hints()
	for _, name := range names {
		hints.ForZones = append(hints.ForZones, ForZone{name})
	}
	e.Hints = hints
	return e
}

// ForNodes is e with hints to the clients on these nodes.
func (e Endpoint) ForNodes(names ...string) Endpoint {
	hints := e.hints()
	for _, name := range names {
		hints.ForNodes = append(hints.ForNodes, ForNode{name})
	}
	e.Hints = hints
	return e
}

// hints copies e's hints, which other copies of e may share.
func (e Endpoint) hints() *Hints {
	if e.Hints == nil {
		return &Hints{}
	}
	return &Hints{ForZones: slices.Clone(e.Hints.ForZones), ForNodes: slices.Clone(e.Hints.ForNodes)}
}

// ClusterIPService is a Service with a cluster IP. The ports are its own, which
// need not be those its pods listen on.
func ClusterIPService(namespace, name string, ports Ports) Service {
	service := Service{
		ObjectMeta: ObjectMeta{Name: name, Namespace: namespace},
		Spec: ServiceSpec{
			Type:                  "ClusterIP",
			ClusterIP:             "10.96.0.100",
			ClusterIPs:            []string{"10.96.0.100"},
			IPFamilies:            []string{"IPv4"},
			Selector:              map[string]string{"app": name},
			InternalTrafficPolicy: new("Cluster"),
			SessionAffinity:       "None",
		},
	}
	for _, port := range slices.Sorted(maps.Keys(ports)) {
		service.Spec.Ports = append(service.Spec.Ports, ServicePort{Name: port, Protocol: "TCP", Port: ports[port]})
	}
	return service
}

// HeadlessService is a Service without a cluster IP.
func HeadlessService(namespace, name string, ports Ports) Service {
	service := ClusterIPService(namespace, name, ports)
	service.Spec.ClusterIP = "None"
	service.Spec.ClusterIPs = []string{"None"}
	return service
}

// NodePortService is a Service that has a port on each node, too: 30000 more
// than its own.
func NodePortService(namespace, name string, ports Ports) Service {
	service := ClusterIPService(namespace, name, ports)
	service.Spec.Type = "NodePort"
	service.Spec.ExternalTrafficPolicy = "Cluster"
	for i := range service.Spec.Ports {
		service.Spec.Ports[i].NodePort = 30000 + service.Spec.Ports[i].Port
	}
	return service
}

// LoadBalancerService is a NodePortService with a load balancer, which listens
// at these addresses; without any it is yet to be made.
func LoadBalancerService(namespace, name string, ports Ports, ingress ...LoadBalancerIngress) Service {
	service := NodePortService(namespace, name, ports)
	service.Spec.Type = "LoadBalancer"
	service.Status.LoadBalancer.Ingress = ingress
	return service
}

// ExternalNameService is a Service that is an alias of a DNS name and has no
// endpoints.
func ExternalNameService(namespace, name, host string) Service {
	return Service{
		ObjectMeta: ObjectMeta{Name: name, Namespace: namespace},
		Spec:       ServiceSpec{Type: "ExternalName", ExternalName: host, SessionAffinity: "None"},
	}
}
