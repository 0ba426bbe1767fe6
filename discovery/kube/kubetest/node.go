package kubetest

import "slices"

// Node is a Node of the core v1 API, as far as a client that reaches Services
// through their node ports reads it. [ReadyNode] makes one.
type Node struct {
	typeMeta
	ObjectMeta `json:"metadata"`
	Spec       NodeSpec   `json:"spec"`
	Status     NodeStatus `json:"status"`
}

// NodeSpec says what may be done with a Node.
type NodeSpec struct {
	Unschedulable bool    `json:"unschedulable,omitempty"` // cordoned
	Taints        []Taint `json:"taints,omitempty"`
}

// Taint keeps pods away from a Node.
type Taint struct {
	Key    string `json:"key"`
	Value  string `json:"value,omitempty"`
	Effect string `json:"effect"` // NoSchedule, PreferNoSchedule or NoExecute
}

// NodeStatus is what the kubelet reports.
type NodeStatus struct {
	Addresses  []NodeAddress   `json:"addresses,omitempty"`
	Conditions []NodeCondition `json:"conditions,omitempty"`
}

// NodeAddress is an address or a name of a Node.
type NodeAddress struct {
	Type    string `json:"type"` // InternalIP, ExternalIP, Hostname, InternalDNS or ExternalDNS
	Address string `json:"address"`
}

// NodeCondition is one aspect of a Node's health.
type NodeCondition struct {
	Type   string `json:"type"`   // Ready, MemoryPressure and others
	Status string `json:"status"` // True, False or Unknown
}

// ReadyNode is a Node that is ready, with these InternalIPs.
func ReadyNode(name string, ips ...string) Node {
	node := Node{ObjectMeta: ObjectMeta{Name: name}}
	node.Status.Addresses = []NodeAddress{{"Hostname", name}}
	for _, ip := range ips {
		node.Status.Addresses = append(node.Status.Addresses, NodeAddress{"InternalIP", ip})
	}
	node.Status.Conditions = []NodeCondition{{"MemoryPressure", "False"}, {"Ready", "True"}}
	return node
}

// NotReady is n while its kubelet is not ready.
func (n Node) NotReady() Node {
	n.Status.Conditions = []NodeCondition{{"MemoryPressure", "False"}, {"Ready", "False"}}
	return n
}

// WithExternalIP is n with an address for the outside.
func (n Node) WithExternalIP(ip string) Node {
	n.Status.Addresses = append(slices.Clip(n.Status.Addresses), NodeAddress{"ExternalIP", ip})
	return n
}
