package e2e_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// What examples/kind/monitoring holds is applied as it is. The images of
// Prometheus and Grafana need a registry, so whether those run depends on the
// cluster; the client that they look at runs everywhere.
func TestTheExampleOfMonitoringShowsWhatItsClientDoes(t *testing.T) {
	c := needCluster(t)
	c.scale(t, 3)
	c.must(t, "", "apply", "-k", manifests+"monitoring")
	t.Cleanup(func() { c.must(t, "", "delete", "-k", manifests+"monitoring", "--ignore-not-found") })
	c.must(t, "", "rollout", "status", "deployment/shopper", "--timeout=1m")
	shopper := strings.TrimSpace(string(c.must(t, "", "get", "pods", "-l", "app=shopper", "-o", "jsonpath={.items[0].metadata.name}")))
	get := func(path string) []byte {
		return c.must(t, "", "get", "--raw", fmt.Sprintf("/api/v1/namespaces/%s/pods/%s:8081/proxy%s", namespace, shopper, path))
	}
	time.Sleep(3 * time.Second) // of requests

	var page struct {
		Node    string
		Targets []struct {
			Target string
			Used   int
		}
		Balancers []struct {
			Policy   string
			Backends []struct {
				Pod, State string
				Requests   map[string]int
			}
		}
	}
	if err := json.Unmarshal(get("/debug/sidestep/?format=json"), &page); err != nil {
		t.Fatal(err)
	}
	if page.Node == "" || len(page.Targets) != 1 || page.Targets[0].Used != 3 || len(page.Balancers) != 1 || len(page.Balancers[0].Backends) != 3 {
		t.Fatalf("the live page: %+v", page)
	}
	answered := 0
	for _, b := range page.Balancers[0].Backends {
		if answered += b.Requests["success"]; b.State != "fit" || b.Requests["success"] == 0 || b.Requests["failure"] > 0 {
			t.Errorf("%s: %s, %v", b.Pod, b.State, b.Requests)
		}
	}
	if html := string(get("/debug/sidestep/")); !strings.Contains(html, "<title>sidestep") || !strings.Contains(html, shopperTarget) {
		t.Errorf("the live page is %s", html)
	}
	metrics := string(get("/metrics"))
	for _, want := range []string{"sidestep_balancer_requests_total{", `sidestep_target="` + shopperTarget + `"`, "sidestep_discovery_endpoints{"} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
	t.Logf("the live page of %s shows %d requests to 3 pods, policy %s", shopper, answered, page.Balancers[0].Policy)
}

const shopperTarget = "k8s:///quiz.kiada:grpc"
