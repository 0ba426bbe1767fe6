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

const rate = 200 // requests per second, each way, unless a scene says otherwise

// warmUp is how long the clients run before a scene begins.
const warmUp = 3 * time.Second

// A way is one of those by which requests can reach the pods.
type way struct {
	title         string
	protocol, via string
	service       string // the Service on which it looks
	target        string // with %s where the name of the Service stands
	policy        string // of sidestep's; round_robin if there is none, which shows best who is in rotation
	method        string // of HTTP; GET if there is none
	program       string // what asks; client if there is none
	sidecar       bool   // whether there is a proxy beside the client
	subscribe     bool   // whether the client holds a stream open beside its requests
}

// ways are the columns of the first table. The first four are sidestep's.
var ways = []way{
	{title: "gRPC k8s", protocol: "grpc", via: "k8s", service: "quiz", target: "%s.kiada:grpc"},
	{title: "HTTP k8s", protocol: "http", via: "k8s", service: "quiz", target: "http://%s.kiada/questions"},
	{title: "gRPC headless", protocol: "grpc", via: "headless", service: "quiz-pods", target: "%s.kiada:grpc"},
	{title: "HTTP headless", protocol: "http", via: "headless", service: "quiz-pods", target: "http://%s.kiada:8080/questions"},
	{title: "gRPC dns", protocol: "grpc", via: "dns", service: "quiz-pods", target: "%s.kiada.svc.cluster.local.:9090"},
	{title: "HTTP ClusterIP", protocol: "http", via: "clusterip", service: "quiz", target: "http://%s.kiada/questions"},
}

// sidestep reports whether the way is the SDK's, and not there for comparison.
func (w way) sidestep() bool { return w.via == "k8s" || w.via == "api" || w.via == "headless" }

// headless reports whether the way learns of changes only as DNS lets it.
func (w way) headless() bool { return w.via == "headless" }

func (w way) podName() string {
	return "client-" + strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9':
			return r
		default:
			return '-'
		}
	}, strings.ToLower(w.title))
}

// in returns the way for other Services, NAME and NAME-pods.
func (w way) in(name string) way {
	w.service = strings.Replace(w.service, "quiz", name, 1)
	return w
}

// arguments returns those of the program that asks.
func (w way) arguments(rate int) []string {
	target := w.target
	if strings.Contains(target, "%s") {
		target = fmt.Sprintf(target, w.service)
	}
	arguments := []string{"-target=" + target, fmt.Sprintf("-rate=%d", rate), "-length=10m", "-listen=:8081", "-latencies", fmt.Sprintf("-subscribe=%t", w.subscribe)}
	if w.program != "" { // it knows one way only
		return arguments
	}
	return append(arguments, "-protocol="+w.protocol, "-via="+w.via, "-policy="+cmp.Or(w.policy, "round_robin"), "-method="+cmp.Or(w.method, "GET"), "-ca="+caFile)
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
	var pods []any
	for _, w := range ways {
		pods = append(pods, clientPod(t, c, w, account, rate))
	}
	return runClients(t, c, ways, pods)
}

// startLoadAt does the same with another rate.
func startLoadAt(t *testing.T, c *cluster, rate int, ways ...way) *load {
	t.Helper()
	var pods []any
	for _, w := range ways {
		pods = append(pods, clientPod(t, c, w, "client", rate))
	}
	return runClients(t, c, ways, pods)
}

// runClients returns when the pods of the clients have run for warmUp.
func runClients(t *testing.T, c *cluster, ways []way, pods []any) *load {
	t.Helper()
	t.Cleanup(func() { c.must(t, "", "delete", "pods", "-l", "app=client", "--ignore-not-found") })
	c.apply(t, pods...)
	c.must(t, "", "wait", "pods", "-l", "app=client", "--for=condition=Ready", "--timeout=60s")
	time.Sleep(warmUp)
	return &load{c, ways}
}

// clientPod fills in the manifest of the client.
func clientPod(t *testing.T, c *cluster, w way, account string, rate int) map[string]any {
	t.Helper()
	var p map[string]any
	if err := json.Unmarshal(c.clientTemplate, &p); err != nil {
		t.Fatal(err)
	}
	p["metadata"].(map[string]any)["name"] = w.podName()
	spec := p["spec"].(map[string]any)
	spec["serviceAccountName"] = account
	spec["terminationGracePeriodSeconds"] = 1 // it has told its result by then
	container := spec["containers"].([]any)[0].(map[string]any)
	container["args"] = w.arguments(rate)
	if w.program != "" {
		container["image"] = imageOf(w.program)
	}
	if w.protocol == "https" {
		mountCA(spec)
	}
	if w.sidecar {
		addProxy(spec, w.podName())
	}
	return p
}

// proxyCPU returns what the proxies have used so far, by the title of the way,
// where there is a way to know it.
func (l *load) proxyCPU(t *testing.T) map[string]time.Duration {
	t.Helper()
	used := make(map[string]time.Duration)
	for _, w := range l.ways {
		if w.sidecar && l.c.node != "" {
			used[w.title] = l.c.proxyCPU(t, w.podName())
		}
	}
	return used
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
