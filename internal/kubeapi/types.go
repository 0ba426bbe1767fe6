package kubeapi

import (
	"encoding/json"
	"net/url"
)

// LabelServiceName is the label of an EndpointSlice that names its Service.
const LabelServiceName = "kubernetes.io/service-name"

// EndpointSlicesPath returns the path of the EndpointSlices of a namespace.
func EndpointSlicesPath(namespace string) string {
	return "/apis/discovery.k8s.io/v1/namespaces/" + url.PathEscape(namespace) + "/endpointslices"
}

// ServicesPath returns the path of the Services of a namespace.
func ServicesPath(namespace string) string {
	return "/api/v1/namespaces/" + url.PathEscape(namespace) + "/services"
}

// An Object is a pointer to a struct that embeds ObjectMeta.
type Object interface {
	meta() *ObjectMeta
}

// ObjectMeta is what all objects have in common. Of its many fields only those
// that sidestep reads are here, as in all types of this file.
type ObjectMeta struct {
	Name            string           `json:"name"`
	UID             string           `json:"uid,omitempty"`
	ResourceVersion string           `json:"resourceVersion,omitempty"`
	OwnerReferences []OwnerReference `json:"ownerReferences,omitempty"`
	Labels          Labels           `json:"labels"`
	Annotations     Annotations      `json:"annotations"`

	DeletionTimestamp string `json:"deletionTimestamp,omitempty"` // empty unless the object is being deleted
}

// Annotations are those that sidestep reads.
type Annotations struct {
	OverCapacity string `json:"endpoints.kubernetes.io/over-capacity,omitempty"`
}

// Labels are those that sidestep reads.
type Labels struct {
	ServiceName   string  `json:"kubernetes.io/service-name,omitempty"`
	Headless      *string `json:"service.kubernetes.io/headless,omitempty"` // of an EndpointSlice; its value is ""
	Zone          string  `json:"topology.kubernetes.io/zone,omitempty"`
	ExcludeFromLB *string `json:"node.kubernetes.io/exclude-from-external-load-balancers,omitempty"`
}

func (m *ObjectMeta) meta() *ObjectMeta { return m }

// An OwnerReference names the object that another one belongs to.
type OwnerReference struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Name       string `json:"name"`
	UID        string `json:"uid"`
}

// The address types of an EndpointSlice. There is a third one, FQDN, to which
// Kubernetes gives no meaning.
const (
	AddressTypeIPv4 = "IPv4"
	AddressTypeIPv6 = "IPv6"
)

// An EndpointSlice holds some of the endpoints of a Service
// (discovery.k8s.io/v1).
type EndpointSlice struct {
	ObjectMeta  `json:"metadata"`
	AddressType string         `json:"addressType"`
	Endpoints   []Endpoint     `json:"endpoints"`
	Ports       []EndpointPort `json:"ports"`

	Subsets []Subset `json:"subsets,omitempty"` // see EndpointsPath
}

// An Endpoint is one backend, usually a pod.
type Endpoint struct {
	Addresses  []string         `json:"addresses"`
	Conditions Conditions       `json:"conditions"`
	TargetRef  *ObjectReference `json:"targetRef,omitempty"`
	NodeName   string           `json:"nodeName,omitempty"`
	Zone       string           `json:"zone,omitempty"`
	Hints      *Hints           `json:"hints,omitempty"`
}

// Conditions are pointers because an absent condition has a meaning of its own.
type Conditions struct {
	Ready       *bool `json:"ready,omitempty"`
	Serving     *bool `json:"serving,omitempty"`
	Terminating *bool `json:"terminating,omitempty"`
}

// An ObjectReference says which object an endpoint is.
type ObjectReference struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
	UID  string `json:"uid"`
}

// Hints say which clients should use an endpoint.
type Hints struct {
	ForZones Names `json:"forZones,omitempty"`
	ForNodes Names `json:"forNodes,omitempty"`
}

// Names are those of zones or nodes. In JSON they are objects with nothing but a
// name.
type Names []string

// UnmarshalJSON implements json.Unmarshaler.
func (n *Names) UnmarshalJSON(encoded []byte) error {
	var objects []struct {
		Name string `json:"name"`
	}
	if err := json.Unmarshal(encoded, &objects); err != nil {
		return err
	}
	*n = nil
	for _, object := range objects {
		*n = append(*n, object.Name)
	}
	return nil
}

// ProtocolTCP is the protocol that a port without one has.
const ProtocolTCP = "TCP"

// An EndpointPort is a port that all endpoints of a slice have.
type EndpointPort struct {
	Name     *string `json:"name"`
	Protocol *string `json:"protocol"`
	Port     *int32  `json:"port"`

	AppProtocol string `json:"appProtocol,omitempty"`
}

// A Service is a named set of pods (core/v1).
type Service struct {
	ObjectMeta `json:"metadata"`
	Spec       ServiceSpec   `json:"spec"`
	Status     ServiceStatus `json:"status"`
}

// ServiceTypeExternalName is the type of Services that are but an alias of a
// host name and have no endpoints.
const ServiceTypeExternalName = "ExternalName"

// PolicyLocal is the internalTrafficPolicy that stays on the client's node, and
// the externalTrafficPolicy that stays on the node that is dialled.
const PolicyLocal = "Local"

// AffinityClientIP is the sessionAffinity that pins a client to a pod.
const AffinityClientIP = "ClientIP"

// ClusterIPNone is the clusterIP of a headless Service.
const ClusterIPNone = "None"

// ServiceSpec is the wanted state of a Service.
type ServiceSpec struct {
	Type                  string        `json:"type,omitempty"`
	ExternalName          string        `json:"externalName,omitempty"`
	Ports                 []ServicePort `json:"ports,omitempty"`
	IPFamilies            []string      `json:"ipFamilies,omitempty"`
	InternalTrafficPolicy string        `json:"internalTrafficPolicy,omitempty"`
	ExternalTrafficPolicy string        `json:"externalTrafficPolicy,omitempty"`
	SessionAffinity       string        `json:"sessionAffinity,omitempty"`
	ClusterIP             string        `json:"clusterIP,omitempty"`
	ClusterIPs            []string      `json:"clusterIPs,omitempty"`
}

// A ServicePort is a port of a Service.
type ServicePort struct {
	Name     string `json:"name,omitempty"`
	Protocol string `json:"protocol,omitempty"`
	Port     int32  `json:"port"`
	NodePort int32  `json:"nodePort,omitempty"`

	AppProtocol string `json:"appProtocol,omitempty"`
}

// ServiceStatus is the state of a Service.
type ServiceStatus struct {
	LoadBalancer struct {
		Ingress []Ingress `json:"ingress,omitempty"`
	} `json:"loadBalancer"`
}

// An Ingress is where the load balancer of a Service listens: an address or, for
// lack of one, a host name.
type Ingress struct {
	IP       string `json:"ip,omitempty"`
	Hostname string `json:"hostname,omitempty"`
}

// list is the answer to a LIST request.
type list struct {
	Metadata struct {
		ResourceVersion string `json:"resourceVersion"`
	} `json:"metadata"`
	Items []json.RawMessage `json:"items"`
}
