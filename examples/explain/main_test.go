package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/hosts"
	"github.com/sidestep-lb/sidestep/discovery/kube"
	"github.com/sidestep-lb/sidestep/discovery/kube/kubetest"
	"github.com/sidestep-lb/sidestep/discovery/topology"
)

func quiz(t *testing.T, endpoints ...kubetest.Endpoint) (*kubetest.Server, discovery.Source, discovery.Target) {
	t.Helper()
	api := kubetest.Start()
	t.Cleanup(api.Close)
	api.SetService(kubetest.ClusterIPService("kiada", "quiz", kubetest.Ports{"grpc": 9090}))
	api.SetEndpointSlice(kubetest.Slice("kiada", "quiz", "quiz-1", kubetest.Ports{"grpc": 8080}, endpoints...))
	target, err := discovery.ParseTarget("k8s:///quiz.kiada:grpc")
	if err != nil {
		t.Fatal(err)
	}
	return api, kube.New(kube.Config{Host: api.URL(), Client: api.Client()}), target
}

func TestExplainSaysOfEachEndpointWhetherItIsUsedAndWhy(t *testing.T) {
	_, source, target := quiz(t,
		kubetest.Ready("10.244.0.1", "quiz-1").OnNode("node-1").InZone("a").ForZones("a"),
		kubetest.Ready("10.244.0.2", "quiz-2").OnNode("node-2").InZone("b").ForZones("b"),
		kubetest.Terminating("10.244.0.3", "quiz-3"))
	var out strings.Builder
	if err := explain(t.Context(), &out, source, target, topology.Locality{Node: "node-2"}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"zone b", "no    10.244.0.1:8080", "yes   10.244.0.2:8080", "serving, terminating"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the text lacks %q:\n%s", want, &out)
		}
	}
}

func TestExplainNamesWhatIsMissing(t *testing.T) {
	api, source, target := quiz(t, kubetest.NotReady("10.244.0.1", "quiz-1"))
	if err := explain(t.Context(), new(strings.Builder), source, target, topology.Locality{}); !errors.Is(err, discovery.ErrNoEndpoints) {
		t.Errorf("with no pod ready: %v", err)
	}
	api.Forbid(kubetest.Any, kubetest.EndpointSlices)
	err := explain(t.Context(), new(strings.Builder), source, target, topology.Locality{})
	if !errors.Is(err, discovery.ErrForbidden) || !strings.Contains(err.Error(), "kind: Role") {
		t.Errorf("with no right to read: %v", err)
	}
}

func TestExplainTellsOfWhatIsReadOtherwiseThanAsked(t *testing.T) {
	api, source, target := quiz(t, kubetest.Ready("10.244.0.1", "quiz-1").OnNode("node-1"))
	service := kubetest.ClusterIPService("kiada", "quiz", kubetest.Ports{"grpc": 9090})
	service.Spec.SessionAffinity = "ClientIP"
	service.Spec.InternalTrafficPolicy = new("Local")
	api.SetService(service)
	file := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(file, []byte("10.9.9.9 shop.kiada\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := explain(t.Context(), &out, namedIn(hosts.Open(file), "k8s:///quiz.kiada:grpc", target, source), target, topology.Locality{}); err != nil {
		t.Fatal(err)
	}
	shop, err := discovery.ParseTarget("k8s:///shop.kiada:80")
	if err != nil {
		t.Fatal(err)
	}
	if err := explain(t.Context(), &out, namedIn(hosts.Open(file), "k8s:///shop.kiada:80", shop, source), shop, topology.Locality{}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"sessionAffinity ClientIP is not honoured", "SIDESTEP_NODE", "yes   10.96.0.100:9090", "from " + file, "yes   10.9.9.9:80"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the text lacks %q:\n%s", want, &out)
		}
	}
}
