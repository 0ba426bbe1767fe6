package kubeapi

// NodesPath is the path of the Nodes, which are in no namespace.
const NodesPath = "/api/v1/nodes"

// A Node is a machine of the cluster (core/v1).
type Node struct {
	ObjectMeta `json:"metadata"`
	Spec       struct {
		Taints []Taint `json:"taints,omitempty"`
	} `json:"spec"`
	Status struct {
		Addresses  []NodeAddress   `json:"addresses,omitempty"`
		Conditions []NodeCondition `json:"conditions,omitempty"`
	} `json:"status"`
}

// TaintToBeDeleted is the key of the taint of a Node that the cluster autoscaler
// is about to delete.
const TaintToBeDeleted = "ToBeDeletedByClusterAutoscaler"

// A Taint keeps pods away from a Node.
type Taint struct {
	Key string `json:"key"`
}

// The types of a NodeAddress that are addresses, not names.
const (
	NodeInternalIP = "InternalIP"
	NodeExternalIP = "ExternalIP"
)

// A NodeAddress is an address or a name of a Node.
type NodeAddress struct {
	Type    string `json:"type"`
	Address string `json:"address"`
}

// A NodeCondition is one aspect of a Node's health.
type NodeCondition struct {
	Type   string `json:"type"`
	Status string `json:"status"`
}
