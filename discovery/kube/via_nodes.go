package kube

import (
	"reflect"
	"strconv"
	"strings"

	"github.com/sidestep-lb/sidestep/internal/kubeapi"
)

// ClusterRole returns, as YAML, the ClusterRole that a client needs for targets
// with via=nodeport, beside the [Role] in the namespace of the Service. It has yet
// to be bound to the client's ServiceAccount.
func ClusterRole() string {
	return `apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: sidestep-nodes}
rules:
- {apiGroups: [""], resources: [nodes], verbs: [list, watch]}
`
}

// theCluster takes the place of a Service whose state is that of the Nodes.
var theCluster = serviceKey{"", "nodes"}

// A nodeHandler puts into a state what is read of the Nodes.
type nodeHandler struct{ *feedWriter }

func (s *state) ofNodes(f *feed) *nodeHandler { return &nodeHandler{&feedWriter{state: s, feed: f}} }

func (h *nodeHandler) Replace(all []*kubeapi.Node) {
	h.change(func(r *readState) {
		h.nodes = make(map[string]*kubeapi.Node, len(all))
		for _, node := range all {
			node.ResourceVersion = ""
			h.nodes[node.Name] = node
		}
		r.listed, r.err, r.failures = true, nil, 0
		h.version++
	})
}

// Apply counts no change of what does not matter here, such as what each kubelet
// writes into its Node every few minutes.
func (h *nodeHandler) Apply(kind string, node *kubeapi.Node) {
	h.change(func(*readState) {
		old := h.nodes[node.Name]
		if kind == kubeapi.Deleted {
			delete(h.nodes, node.Name)
		} else {
			h.nodes[node.Name] = node
			node.ResourceVersion = ""
			if reflect.DeepEqual(old, node) {
				return
			}
		}
		h.version++
	})
}

// nodePorts returns the addresses of the nodes that take what comes from outside,
// and puts into v what tells when they change. If serving is not nil, it holds the
// only nodes that take it, and whether they do for pods that are ready.
//
// Which nodes count is what the service controller goes by when it sets up a
// cloud's load balancer (nodeIncludedPredicate and its neighbours in
// k8s.io/cloud-provider). It leaves nodes that are not ready to the load
// balancer's own health checks (KEP-3458), for which readiness stands here. Nodes
// about to be deleted finish what they have, as they do there (KEP-3836).
//
// If any node has an address for the outside, the others cannot be reached from
// there.
func (s *state) nodePorts(v *view, serving map[string]bool) (found []kubeapi.Endpoint, nodes readState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v.also = s.changed
	v.version += s.version
	use := kubeapi.NodeInternalIP
	for _, node := range s.nodes {
		for _, a := range node.Status.Addresses {
			if a.Type == kubeapi.NodeExternalIP && !excluded(node) {
				use = a.Type
			}
		}
	}
	for _, node := range s.nodes {
		podReady, hasPod := serving[node.Name]
		if excluded(node) || serving != nil && !hasPod {
			continue
		}
		up := isReady(node)
		leaving := isLeaving(node) || serving != nil && !podReady
		ready := up && !leaving
		var v4, v6 bool // whether it has one: of several in one family the first is the node's own
		for _, a := range node.Status.Addresses {
			has := &v4
			if strings.Contains(a.Address, ":") {
				has = &v6
			}
			if a.Type != use || *has {
				continue
			}
			*has = true
			found = append(found, kubeapi.Endpoint{
				Addresses:  []string{a.Address},
				NodeName:   node.Name,
				Zone:       node.Labels.Zone,
				TargetRef:  &kubeapi.ObjectReference{UID: node.UID},
				Conditions: kubeapi.Conditions{Ready: &ready, Serving: &up, Terminating: &leaving},
			})
		}
	}
	return found, s.readStates[endpointSlices]
}

// servingNodes returns the nodes that externalTrafficPolicy Local allows: those
// with a pod that is ready, or else with one that still serves while it terminates
// (KEP-1669).
func (f *serviceState) servingNodes() map[string]bool {
	serving := make(map[string]bool)
	for _, slice := range f.currentSlices() {
		for i := range slice.Endpoints {
			if e := (entry{of: &slice.Endpoints[i]}); usable(&e) {
				serving[e.of.NodeName] = serving[e.of.NodeName] || e.ready()
			}
		}
	}
	return serving
}

func isReady(node *kubeapi.Node) bool {
	for _, c := range node.Status.Conditions {
		if c.Type == "Ready" {
			return c.Status == "True"
		}
	}
	return false
}

func isLeaving(node *kubeapi.Node) bool {
	for _, t := range node.Spec.Taints {
		if t.Key == kubeapi.TaintToBeDeleted {
			return true
		}
	}
	return node.DeletionTimestamp != ""
}

func excluded(node *kubeapi.Node) bool {
	label := node.Labels.ExcludeFromLB
	if label == nil {
		return false
	}
	exclude, err := strconv.ParseBool(*label)
	return exclude || err != nil
}
