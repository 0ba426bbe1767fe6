package kubetest_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/sidestep-lb/sidestep/discovery/kube/kubetest"
)

func TestNodesAreInNoNamespace(t *testing.T) {
	server := start(t)
	server.SetNode(kubetest.ReadyNode("node-a", "192.168.0.1").WithExternalIP("203.0.113.1"))
	stream := openWatch(t, server, "/api/v1/nodes?watch=1")
	stream.want("ADDED", "node-a")
	code, node := get(t, server, "/api/v1/nodes/node-a")
	want := `"status":{"addresses":[{"type":"Hostname","address":"node-a"},{"type":"InternalIP","address":"192.168.0.1"},` +
		`{"type":"ExternalIP","address":"203.0.113.1"}],"conditions":[{"type":"MemoryPressure","status":"False"},{"type":"Ready","status":"True"}]}`
	if code != http.StatusOK || node.Kind != "Node" || !strings.Contains(string(node.raw), want) {
		t.Errorf("%d: %s, want %s", code, node.raw, want)
	}
	server.SetNode(kubetest.ReadyNode("node-b", "192.168.0.2").NotReady())
	stream.want("ADDED", "node-b")
	if _, list := get(t, server, "/api/v1/nodes"); list.names() != "node-a node-b " {
		t.Errorf("listed: %s", list.names())
	}
	if !server.DeleteNode("node-a") || server.DeleteNode("node-a") {
		t.Error("node-a is not deleted once")
	}
	stream.want("DELETED", "node-a")
	if code, _ := get(t, server, "/api/v1/namespaces/kiada/nodes"); code != http.StatusNotFound {
		t.Errorf("nodes of a namespace: %d", code)
	}
	server.Forbid(kubetest.List, kubetest.Nodes)
	if _, refusal := get(t, server, "/api/v1/nodes"); !strings.HasSuffix(refusal.Message, `cannot list resource "nodes" in API group "" at the cluster scope`) {
		t.Errorf("refusal: %s", refusal.Message)
	}
}
