package e2e_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sidestep-lb/sidestep/examples/client/result"
)

const rate = 200 // requests per second, each way

// warmUp is how long the clients run before a scene begins.
const warmUp = 3 * time.Second

// A way is one of those by which requests can reach the pods.
type way struct {
	title         string
	protocol, via string
	service       string // the Service on which it looks
	target        string // with %s where the name of the Service stands
	policy        string // of sidestep's; round_robin if there is none, which shows best who is in rotation
}

// ways are the columns of the table. The first four are sidestep's.
var ways = []way{
	{"gRPC k8s", "grpc", "k8s", "quiz", "%s.kiada:grpc", ""},
	{"HTTP k8s", "http", "k8s", "quiz", "http://%s.kiada/questions", ""},
	{"gRPC headless", "grpc", "headless", "quiz-pods", "%s.kiada:grpc", ""},
	{"HTTP headless", "http", "headless", "quiz-pods", "http://%s.kiada:8080/questions", ""},
	{"gRPC dns", "grpc", "dns", "quiz-pods", "%s.kiada.svc.cluster.local.:9090", ""},
	{"HTTP ClusterIP", "http", "clusterip", "quiz", "http://%s.kiada/questions", ""},
}

// sidestep reports whether the way is the SDK's, and not there for comparison.
func (w way) sidestep() bool { return w.via == "k8s" || w.via == "headless" }

// headless reports whether the way learns of changes only as DNS lets it.
func (w way) headless() bool { return w.via == "headless" }

func (w way) podName() string { return "client-" + w.protocol + "-" + w.via }

// in returns the way for other Services, NAME and NAME-pods.
func (w way) in(name string) way {
	w.service = strings.Replace(w.service, "quiz", name, 1)
	return w
}

// A load is one client per way, all running.
type load struct {
	c    *cluster
	ways []way
}

// startLoad starts a client for each of the given ways, under a service account
// of the namespace, and returns when they have run for warmUp.
func startLoad(t *testing.T, c *cluster, account string, ways ...way) *load {
	t.Helper()
	template := c.must(t, "", "create", "--dry-run=client", "-o", "json", "-f", manifests+"client.yaml")
	var pods []any
	for _, w := range ways {
		pods = append(pods, clientPod(t, template, w, account))
	}
	t.Cleanup(func() { c.must(t, "", "delete", "pods", "-l", "app=client", "--ignore-not-found") })
	c.apply(t, pods...)
	c.must(t, "", "wait", "pods", "-l", "app=client", "--for=condition=Ready", "--timeout=60s")
	time.Sleep(warmUp)
	return &load{c, ways}
}

// clientPod fills in the manifest of the client.
func clientPod(t *testing.T, template []byte, w way, account string) any {
	t.Helper()
	var p map[string]any
	if err := json.Unmarshal(template, &p); err != nil {
		t.Fatal(err)
	}
	p["metadata"].(map[string]any)["name"] = w.podName()
	spec := p["spec"].(map[string]any)
	spec["serviceAccountName"] = account
	spec["containers"].([]any)[0].(map[string]any)["args"] = []string{
		"-target=" + fmt.Sprintf(w.target, w.service), "-protocol=" + w.protocol, "-via=" + w.via,
		"-policy=" + cmp.Or(w.policy, "round_robin"), fmt.Sprintf("-rate=%d", rate), "-length=10m", "-listen=:8081",
	}
	return p
}

// stop returns the results of the clients, in the order of the ways, and ends
// them. It does not read their logs, for which the API server would have to
// reach the kubelet.
func (l *load) stop(t *testing.T) []*result.Result {
	t.Helper()
	results := make([]*result.Result, len(l.ways))
	for i, w := range l.ways {
		path := fmt.Sprintf("/api/v1/namespaces/%s/pods/%s:8081/proxy/result", namespace, w.podName())
		results[i] = new(result.Result)
		if err := json.Unmarshal(l.c.must(t, "", "get", "--raw", path), results[i]); err != nil {
			t.Fatalf("%s: the result: %v", w.title, err)
		}
	}
	l.c.must(t, "", "delete", "pods", "-l", "app=client")
	return results
}
