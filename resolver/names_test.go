package resolver_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/selection"
	"github.com/sidestep-lb/sidestep/discovery/topology"
	"github.com/sidestep-lb/sidestep/resolver"
)

func TestANameOfTheHostsFileGoesWhereThatSays(t *testing.T) {
	file := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(file, []byte("10.1.0.1 quiz.kiada\n10.1.0.2 shop.kiada.svc\n10.1.0.3 a.example.com\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"k8s:///quiz.kiada:80":               "10.1.0.1:80",
		"kubernetes://quiz.kiada:80":         "10.1.0.1:80",
		"kubernetes://kiada/quiz:80":         "10.1.0.1:80",
		"headless:///quiz.kiada:80":          "10.1.0.1:80",
		"k8s:///shop.kiada.svc:80":           "10.1.0.2:80",
		"headless:///a.example.com.:443":     "10.1.0.3:443",
		"k8s:///quiz.kiada.svc:80":           "10.0.0.1:80", // as it is written, it is not in the file
		"k8s:///shop.kiada:80":               "10.0.0.1:80",
		"k8s:///quiz:80":                     "10.0.0.1:80",
		"k8s:///quiz.kiada.svc.cluster.a:80": "10.0.0.1:80",
	} {
		cc := newChannel()
		build(t, cc, text, resolver.Config{Source: newSource(ready("10.0.0.1:80")), Selection: selection.Config{HostsFile: file}})
		if got := addresses(cc.state(t)); !slices.Equal(got, []string{want}) {
			t.Errorf("%s: %v, want %s", text, got, want)
		}
	}
}

// Somebody else's change of the policy to Local does not fail a client whose pod
// does not tell its node.
func TestWithoutANodeAServiceWithPolicyLocalIsReachedThroughItsClusterIP(t *testing.T) {
	t.Setenv("SIDESTEP_NODE", "")
	t.Setenv("NODE_NAME", "")
	s := newSource(ready("10.0.0.1:8080"))
	cc, placed := newChannel(), newChannel()
	build(t, cc, "k8s:///quiz.kiada:80", resolver.Config{Source: s})
	build(t, placed, "k8s:///quiz.kiada:80", resolver.Config{Source: s, Selection: selection.Config{Locality: topology.Locality{Node: "node-1"}}})
	cc.state(t)
	placed.state(t)
	local := discovery.NewSnapshot([]discovery.Endpoint{ready("10.0.0.1:8080")})
	local.LocalOnly, local.ClusterIP = true, netip.MustParseAddrPort("10.96.0.7:80")
	s.update(local)
	if got := addresses(cc.state(t)); !slices.Equal(got, []string{"10.96.0.7:80"}) {
		t.Errorf("%v, want the cluster IP", got)
	}
	if got := addresses(placed.state(t)); len(got) > 0 {
		t.Errorf("%v on a node without pods", got)
	}
}
