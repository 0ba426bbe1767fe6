package kube_test

import (
	"context"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/kube"
	"github.com/sidestep-lb/sidestep/discovery/kube/kubetest"
)

// inPod returns a Source as a pod of namespace kiada has it, and the folder
// with its token.
func inPod(t *testing.T, server *kubetest.Server) (*kube.Source, string) {
	t.Helper()
	u, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBERNETES_SERVICE_HOST", u.Hostname())
	t.Setenv("KUBERNETES_SERVICE_PORT", u.Port())
	dir := t.TempDir()
	for name, content := range map[string]string{"ca.crt": string(server.CA()), "token": "first", "namespace": "kiada\n"} {
		writeFile(t, filepath.Join(dir, name), content)
	}
	return kube.NewForTest(kube.Config{}, dir), dir
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// P12.
func TestInAPodNothingNeedsToBeSet(t *testing.T) {
	server := kubetest.StartTLS()
	defer server.Close()
	server.RequireToken("first")
	server.SetService(kubetest.ClusterIPService("kiada", "quiz", kubetest.Ports{"grpc": 80}))
	setSlice(server, "quiz-a", kubetest.Ready("10.0.0.1", "quiz-0"))
	source, dir := inPod(t, server)
	sub := discovery.Watch(source, parse(t, "k8s:///quiz"))
	defer sub.Close()
	awaitEndpoints(t, sub, "10.0.0.1:8080")
	waitWatches(t, server, 2)

	// The kubelet replaces the token, and the old one expires.
	writeFile(t, filepath.Join(dir, "token"), "second")
	server.RequireToken("second")
	server.DropWatches()
	waitWatches(t, server, 2)
	setSlice(server, "quiz-a", kubetest.Ready("10.0.0.2", "quiz-1"))
	awaitEndpoints(t, sub, "10.0.0.2:8080")
}

// P12 and P14.
func TestATokenThatIsNoGoodIsReportedAndTriedAgain(t *testing.T) {
	server := kubetest.StartTLS()
	defer server.Close()
	server.RequireToken("second")
	source, dir := inPod(t, server)
	sub := discovery.Watch(source, parse(t, "k8s:///quiz"))
	defer sub.Close()
	view := await(t, sub, "an error", func(v discovery.View) bool { return v.Err != nil })
	if !strings.Contains(view.Err.Error(), "HTTP status 401 Unauthorized") {
		t.Errorf("error: %v", view.Err)
	}
	writeFile(t, filepath.Join(dir, "token"), "second")
	await(t, sub, "an answer", func(v discovery.View) bool {
		return v.Err == nil && errors.Is(reason(v), discovery.ErrServiceNotFound)
	})
}

func TestOutsideAClusterTheErrorSaysSoAtOnce(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	dir := t.TempDir()
	source := kube.NewForTest(kube.Config{}, dir)
	_, err := discovery.Resolve(context.Background(), source, parse(t, "k8s:///quiz.kiada:grpc"))
	want := "source unavailable: not in a cluster: KUBERNETES_SERVICE_HOST is not set, there is no service-account token at " + filepath.Join(dir, "token") +
		`, and kube.Config has no Host; outside of a cluster run "kubectl proxy" and give the Config of the client this Source: kube.New(kube.Config{Host: "http://127.0.0.1:8001"})`
	if !errors.Is(err, discovery.ErrUnavailable) || err.Error() != "k8s:///quiz.kiada:grpc: "+want {
		t.Errorf("error: %v", err)
	}
	if err := source.Available(); !errors.Is(err, discovery.ErrUnavailable) || err.Error() != want {
		t.Errorf("Available: %v", err)
	}
	writeFile(t, filepath.Join(dir, "token"), "secret")
	if err := kube.NewForTest(kube.Config{}, dir).Available(); err == nil || strings.Contains(err.Error(), "token") {
		t.Errorf("with a token, Available: %v", err)
	}
}

func TestAvailableSaysWhetherThereIsAnAPIServerToAsk(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
	dir := t.TempDir()
	if err := kube.NewForTest(kube.Config{}, dir).Available(); err == nil || !strings.Contains(err.Error(), "no service-account token at "+dir) {
		t.Errorf("in a pod without a token: %v", err)
	}
	writeFile(t, filepath.Join(dir, "token"), "secret")
	if err := kube.NewForTest(kube.Config{}, dir).Available(); err != nil {
		t.Errorf("in a pod: %v", err)
	}
	if err := kube.New(kube.Config{Host: "http://127.0.0.1:8001"}).Available(); err != nil {
		t.Errorf("with kubectl proxy: %v", err)
	}
	if err := kube.New(kube.Config{Host: "ftp://api"}).Available(); err == nil || !strings.Contains(err.Error(), "ftp://api") {
		t.Errorf("with a host that is no URL: %v", err)
	}
}

// P13.
func TestAHostThatIsNoURLIsAnErrorAtTheFirstUse(t *testing.T) {
	source := kube.New(kube.Config{Host: "ftp://api"})
	if _, err := discovery.Resolve(context.Background(), source, parse(t, "k8s:///quiz.kiada:grpc")); !errors.Is(err, discovery.ErrUnavailable) {
		t.Errorf("error: %v", err)
	}
}

func TestATargetThatIsNoServiceIsAnError(t *testing.T) {
	source := kube.New(kube.Config{Host: "http://127.0.0.1:1"})
	if _, err := discovery.Resolve(context.Background(), source, parse(t, "static:///10.0.0.1:80")); !errors.Is(err, discovery.ErrUnavailable) {
		t.Errorf("error: %v", err)
	}
}

func TestInClusterIsOneSource(t *testing.T) {
	if one, two := kube.InCluster(), kube.InCluster(); one != two {
		t.Error("two calls return two sources, so that their users share no watches")
	}
}

func TestWithoutTheRightToReadServicesAPodsEnvironmentKnowsTheirPorts(t *testing.T) {
	server := kubetest.StartTLS()
	defer server.Close()
	server.Forbid(kubetest.Any, kubetest.Services)
	t.Setenv("QUIZ_SERVICE_PORT_GRPC", "80")
	for _, namespace := range []string{"kiada", "elsewhere"} {
		server.SetEndpointSlice(kubetest.Slice(namespace, "quiz", "quiz-a", kubetest.Ports{"grpc": 8080, "http": 8081}, kubetest.Ready("10.0.0.1", "quiz-0")))
	}
	source, _ := inPod(t, server)
	awaitEndpoints(t, watch(t, source, "k8s:///quiz:80"), "10.0.0.1:8080")
	// It says nothing of other namespaces.
	elsewhere := awaitEndpoints(t, watch(t, source, "k8s:///quiz.elsewhere:80"), "-")
	if err := elsewhere.Snapshot.Reason; !errors.Is(err, discovery.ErrPortNotFound) {
		t.Errorf("reason: %v", err)
	}
}
