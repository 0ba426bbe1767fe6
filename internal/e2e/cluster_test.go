package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

const (
	namespace = "kiada"
	manifests = "../../examples/kind/"
)

// A cluster is the one that the environment names, with the server deployed.
type cluster struct {
	kubeconfig string // empty: kubectl's own choice
	dnsTTL     time.Duration
	stopAPI    string // a command, or empty, as the next two
	startAPI   string
	node       string

	clientTemplate []byte // the manifest of the client, as JSON
	proxy          bool   // whether there is an image of HAProxy
}

var (
	theCluster *cluster // nil when the environment names none

	theReport = &report{
		caption: fmt.Sprintf(`What was measured: %d requests/s each way, all ways at the same time, pods of %s. The clients are %v old when
a scene begins: gRPC's dns resolver, which asks no more often than every 30 s, may not yet ask again.`, rate, manifests, warmUp),
		columns: ways,
	}
	theReports = []*report{theReport, ordinaryReport, grpcContest.report, httpContest.report}
)

func TestMain(m *testing.M) {
	if os.Getenv("SIDESTEP_E2E_LOAD_IMAGE") == "" {
		os.Exit(m.Run()) // every test skips itself
	}
	c, err := setUp()
	if err != nil {
		log.Fatalf("e2e: set up: %v", err)
	}
	theCluster = c
	code := m.Run()
	for _, r := range theReports {
		r.print(os.Stdout)
	}
	if _, err := c.kubectl("", "delete", "namespace", namespace, "--wait=false"); err != nil {
		log.Printf("e2e: clean up: %v", err)
	}
	os.Exit(code)
}

// needCluster skips the test where there is no cluster.
func needCluster(t *testing.T) *cluster {
	t.Helper()
	if theCluster == nil {
		t.Skip("no cluster: SIDESTEP_E2E_LOAD_IMAGE is not set; see the package comment")
	}
	needTime(t, 3*time.Minute)
	return theCluster
}

// needTime skips a test that takes up to so long where -timeout would end it.
func needTime(t *testing.T, longest time.Duration) {
	t.Helper()
	if deadline, ok := t.Deadline(); ok && time.Until(deadline) < longest {
		t.Skipf("-timeout is up in %v, and this takes up to %v", time.Until(deadline).Round(time.Second), longest)
	}
}

func setUp() (*cluster, error) {
	c := &cluster{
		kubeconfig: os.Getenv("SIDESTEP_E2E_KUBECONFIG"),
		dnsTTL:     5 * time.Second,
		stopAPI:    os.Getenv("SIDESTEP_E2E_APISERVER_STOP"),
		startAPI:   os.Getenv("SIDESTEP_E2E_APISERVER_START"),
		node:       os.Getenv("SIDESTEP_E2E_NODE"),
	}
	var err error
	if ttl := os.Getenv("SIDESTEP_E2E_DNS_TTL"); ttl != "" {
		if c.dnsTTL, err = time.ParseDuration(ttl); err != nil {
			return nil, fmt.Errorf("SIDESTEP_E2E_DNS_TTL: %w", err)
		}
	}
	if err := loadImages(); err != nil {
		return nil, err
	}
	if c.proxy, err = loadProxy(); err != nil {
		return nil, err
	}
	if err := c.deploy(); err != nil {
		return nil, err
	}
	c.clientTemplate, err = c.kubectl("", "create", "--dry-run=client", "-o", "json", "-f", manifests+"client.yaml")
	return c, err
}

// deploy replaces the namespace and returns when the server runs in it.
func (c *cluster) deploy() error {
	certificates, err := certificates()
	if err != nil {
		return err
	}
	haproxy, err := proxyConfig()
	if err != nil {
		return err
	}
	objects, err := list(append([]any{
		map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": namespace}},
		haproxy,
	}, certificates...))
	if err != nil {
		return err
	}
	for _, step := range []struct {
		stdin string
		args  []string
	}{
		{"", []string{"delete", "namespace", namespace, "--ignore-not-found", "--timeout=2m"}},
		{objects, []string{"apply", "-f", "-"}},
		{"", []string{"apply", "-f", manifests + "quiz.yaml", "-f", manifests + "rbac.yaml", "-f", "testdata/services.yaml"}},
		{"", []string{"-n", namespace, "patch", "deployment", "quiz", "--patch-file", "testdata/ports.yaml"}},
		{"", []string{"-n", namespace, "rollout", "status", "deployment/quiz", "--timeout=2m"}},
	} {
		if _, err := c.kubectl(step.stdin, step.args...); err != nil {
			return err
		}
	}
	return nil
}

// kubectlCommand returns a command that ends with ctx.
func (c *cluster) kubectlCommand(ctx context.Context, args ...string) *exec.Cmd {
	if c.kubeconfig != "" {
		args = append([]string{"--kubeconfig", c.kubeconfig}, args...)
	}
	return exec.CommandContext(ctx, "kubectl", args...)
}

// kubectl runs kubectl with the given standard input.
func (c *cluster) kubectl(stdin string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := c.kubectlCommand(ctx, args...)
	cmd.Stdin = strings.NewReader(stdin)
	return run(cmd)
}

// must runs kubectl in the namespace of the tests, and fails the test with it.
func (c *cluster) must(t *testing.T, stdin string, args ...string) []byte {
	t.Helper()
	out, err := c.kubectl(stdin, append([]string{"-n", namespace}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// apply applies objects of the namespace.
func (c *cluster) apply(t *testing.T, objects ...any) {
	t.Helper()
	objectList, err := list(objects)
	if err != nil {
		t.Fatal(err)
	}
	c.must(t, objectList, "apply", "-f", "-")
}

// list writes objects as kubectl reads several.
func list(objects []any) (string, error) {
	text, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "List", "items": objects})
	return string(text), err
}

// awaitAPI returns when the API server is ready.
func (c *cluster) awaitAPI(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(500 * time.Millisecond) {
		_, err := c.kubectl("", "get", "--raw", "/readyz")
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// scale returns when so many pods are ready, and no other is left.
func (c *cluster) scale(t *testing.T, replicas int) {
	t.Helper()
	c.must(t, "", "scale", "deployment/quiz", fmt.Sprintf("--replicas=%d", replicas))
	c.must(t, "", "rollout", "status", "deployment/quiz", "--timeout=2m")
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
		pods := c.pods(t)
		if len(pods) == replicas {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after 2 minutes there are %d pods, not %d", len(pods), replicas)
		}
	}
}

// A pod is one of the server's.
type pod struct {
	Metadata struct{ Name, UID string }
	Status   struct{ PodIP string }
}

// pods returns the pods of the server, those that terminate among them.
func (c *cluster) pods(t *testing.T) []pod {
	t.Helper()
	var list struct{ Items []pod }
	if err := json.Unmarshal(c.must(t, "", "get", "pods", "-l", "app=quiz", "-o", "json"), &list); err != nil {
		t.Fatal(err)
	}
	return list.Items
}

// turn sets knobs of a pod, through the API server, and returns when the pod
// will die if the knob die is among them.
func (c *cluster) turn(t *testing.T, pod string, knobs url.Values) (dies time.Time) {
	t.Helper()
	path := fmt.Sprintf("/api/v1/namespaces/%s/pods/%s:8080/proxy/knobs?%s", namespace, pod, knobs.Encode())
	var reply struct{ Dies time.Time }
	if err := json.Unmarshal(c.must(t, "", "create", "--raw", path, "-f", "-"), &reply); err != nil {
		t.Fatal(err)
	}
	return reply.Dies
}

// turnAll sets knobs of all pods of the server.
func (c *cluster) turnAll(t *testing.T, knobs url.Values) {
	t.Helper()
	for _, p := range c.pods(t) {
		c.turn(t, p.Metadata.Name, knobs)
	}
}

// replace deletes a pod at once and returns when another one has its place.
func (c *cluster) replace(t *testing.T, pod string) {
	t.Helper()
	c.must(t, "", "delete", "pod", pod, "--grace-period=0", "--force", "--ignore-not-found")
	c.scale(t, 3)
}
