package kubetest

import "encoding/json"

// Service is a Service of the core v1 API, as far as a client that looks for
// backends reads it.
type Service struct {
	typeMeta
	ObjectMeta `json:"metadata"`
	Spec       ServiceSpec   `json:"spec"`
	Status     ServiceStatus `json:"status"`
}

// ServiceSpec says what a Service stands for.
type ServiceSpec struct {
	Type                  string            `json:"type,omitempty"`      // ClusterIP, NodePort, LoadBalancer or ExternalName
	ClusterIP             string            `json:"clusterIP,omitempty"` // "None" in a headless Service
	ClusterIPs            []string          `json:"clusterIPs,omitempty"`
	IPFamilies            []string          `json:"ipFamilies,omitempty"` // IPv4, IPv6
	Ports                 []ServicePort     `json:"ports,omitempty"`
	Selector              map[string]string `json:"selector,omitempty"`
	InternalTrafficPolicy *string           `json:"internalTrafficPolicy,omitempty"` // Cluster or Local
	ExternalTrafficPolicy string            `json:"externalTrafficPolicy,omitempty"` // Cluster or Local
	SessionAffinity       string            `json:"sessionAffinity,omitempty"`       // None or ClientIP
	ExternalName          string            `json:"externalName,omitempty"`
}

// ServicePort is a port of a Service.
type ServicePort struct {
	Name        string  `json:"name,omitempty"`
	Protocol    string  `json:"protocol,omitempty"`
	AppProtocol *string `json:"appProtocol,omitempty"`
	Port        int32   `json:"port"`
	TargetPort  any     `json:"targetPort,omitempty"` // an int, or a string that names a container port
	NodePort    int32   `json:"nodePort,omitempty"`
}

// ServiceStatus is what a cluster adds to a Service.
type ServiceStatus struct {
	LoadBalancer LoadBalancerStatus `json:"loadBalancer"`
}

// LoadBalancerStatus is where the load balancer of a Service listens.
type LoadBalancerStatus struct {
	Ingress []LoadBalancerIngress `json:"ingress,omitempty"`
}

// LoadBalancerIngress is an address of a load balancer, or a name of one.
type LoadBalancerIngress struct {
	IP       string `json:"ip,omitempty"`
	Hostname string `json:"hostname,omitempty"`
}

// EndpointSlice is an EndpointSlice of the discovery.k8s.io/v1 API. Nil
// Endpoints and Ports are sent as null, as a real server sends those of an
// empty slice; empty ones that are not nil are sent as [].
type EndpointSlice struct {
	typeMeta
	ObjectMeta  `json:"metadata"`
	AddressType string         `json:"addressType"` // IPv4, IPv6 or FQDN
	Endpoints   []Endpoint     `json:"endpoints"`
	Ports       []EndpointPort `json:"ports"`
}

// Endpoint is one pod, or one address outside the cluster, in an
// EndpointSlice. [Ready], [NotReady] and [Terminating] make those of pods.
type Endpoint struct {
	Addresses  []string         `json:"addresses"`
	Conditions Conditions       `json:"conditions"`
	Hostname   *string          `json:"hostname,omitempty"`
	TargetRef  *ObjectReference `json:"targetRef,omitempty"`
	NodeName   *string          `json:"nodeName,omitempty"`
	Zone       *string          `json:"zone,omitempty"`
	Hints      *Hints           `json:"hints,omitempty"`
}

// Conditions is the state of an Endpoint. A nil condition is not sent;
// Kubernetes reads nil Ready and Serving as true and nil Terminating as false.
type Conditions struct {
	Ready       *bool `json:"ready,omitempty"`
	Serving     *bool `json:"serving,omitempty"`
	Terminating *bool `json:"terminating,omitempty"`
}

// EndpointPort is a port that every Endpoint of a slice listens on.
type EndpointPort struct {
	Name        *string `json:"name,omitempty"`
	Port        *int32  `json:"port,omitempty"`
	Protocol    *string `json:"protocol,omitempty"`
	AppProtocol *string `json:"appProtocol,omitempty"`
}

// Hints says which clients should use an Endpoint.
type Hints struct {
	ForZones []ForZone `json:"forZones,omitempty"`
	ForNodes []ForNode `json:"forNodes,omitempty"`
}

// ForZone is a hint to the clients in a zone.
type ForZone struct {
	Name string `json:"name"`
}

// ForNode is a hint to the clients on a node.
type ForNode struct {
	Name string `json:"name"`
}

// ObjectReference names the object, usually a Pod, behind an Endpoint.
type ObjectReference struct {
	Kind      string `json:"kind,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	UID       string `json:"uid,omitempty"`
}

// ObjectMeta is what every object has. The server sets ResourceVersion at each
// change, and UID where it is empty: an object keeps its UID until it is
// deleted.
type ObjectMeta struct {
	Name            string            `json:"name,omitempty"`
	Namespace       string            `json:"namespace,omitempty"`
	UID             string            `json:"uid,omitempty"`
	ResourceVersion string            `json:"resourceVersion,omitempty"`
	Labels          map[string]string `json:"labels,omitempty"`
	Annotations     map[string]string `json:"annotations,omitempty"`
	OwnerReferences []OwnerReference  `json:"ownerReferences,omitempty"`

	DeletionTimestamp string `json:"deletionTimestamp,omitempty"` // RFC 3339; set while the object is being deleted
}

// OwnerReference names the object that owns another, as a Service owns the
// EndpointSlices made for it.
type OwnerReference struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Name       string `json:"name"`
	UID        string `json:"uid"`
	Controller *bool  `json:"controller,omitempty"`
}

// typeMeta is set by the server as it encodes an object: a real one leaves it
// out of the items of a list.
type typeMeta struct {
	Kind       string `json:"kind,omitempty"`
	APIVersion string `json:"apiVersion,omitempty"`
}

// object is a *Service, an *EndpointSlice or a *Node.
type object interface {
	metadata() *ObjectMeta
	typing() *typeMeta
}

func (m *ObjectMeta) metadata() *ObjectMeta { return m }
func (t *typeMeta) typing() *typeMeta       { return t }

// clone copies an object with all it points to, keeping nil and empty slices
// apart, so that a caller may change its own afterwards.
func clone[T any](in T) *T {
	out := new(T)
	if err := json.Unmarshal(mustMarshal(in), out); err != nil {
		panic("kubetest: copying an object: " + err.Error())
	}
	return out
}

// mustMarshal encodes this package's own types. They always encode, save for a
// ServicePort whose TargetPort is no JSON value: a mistake in the test.
func mustMarshal(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic("kubetest: encoding an object: " + err.Error())
	}
	return b
}
