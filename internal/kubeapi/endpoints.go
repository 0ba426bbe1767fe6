package kubeapi

import "net/url"

// EndpointsPath returns the path of the Endpoints of a namespace (core/v1,
// deprecated since Kubernetes 1.33). They are read as EndpointSlices that have
// Subsets and nothing else.
func EndpointsPath(namespace string) string {
	return "/api/v1/namespaces/" + url.PathEscape(namespace) + "/endpoints"
}

// OverCapacityTruncated is the annotation of Endpoints that leave out all but 1000.
const OverCapacityTruncated = "truncated"

// A Subset is a group of endpoints with the same ports.
type Subset struct {
	Addresses         []SubsetAddress `json:"addresses"`
	NotReadyAddresses []SubsetAddress `json:"notReadyAddresses"`
	Ports             []EndpointPort  `json:"ports"`
}

// A SubsetAddress is an endpoint, usually a pod.
type SubsetAddress struct {
	IP        string           `json:"ip"`
	NodeName  string           `json:"nodeName"`
	TargetRef *ObjectReference `json:"targetRef"`
}
