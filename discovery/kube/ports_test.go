package kube_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/kube"
	"github.com/sidestep-lb/sidestep/discovery/kube/kubetest"
)

// A headless Service translates no port: DNS gives the pods' addresses, and the
// number is theirs.
func TestThePortOfAHeadlessServiceIsThePods(t *testing.T) {
	for name, ports := range map[string]kubetest.Ports{"no ports": {}, "null ports": nil, "another": {"grpc": 9090}, "several": {"grpc": 9090, "http": 80}} {
		t.Run(name, func(t *testing.T) {
			server := kubetest.Start()
			defer server.Close()
			server.SetService(kubetest.HeadlessService("kiada", "quiz", ports))
			for slice, ip := range map[string]string{"quiz-a": "10.0.0.1", "quiz-b": "10.0.0.2"} {
				server.SetEndpointSlice(kubetest.Slice("kiada", "quiz", slice, ports, kubetest.Ready(ip, slice), kubetest.NotReady("10.0.0.3", "quiz-3")))
			}
			sub := watch(t, newSource(server), "k8s:///quiz.kiada:7000")
			awaitEndpoints(t, sub, "10.0.0.1:7000 10.0.0.2:7000 10.0.0.3:7000")
			// With a cluster IP nothing forwards the port.
			server.SetService(kubetest.ClusterIPService("kiada", "quiz", kubetest.Ports{"grpc": 80}))
			await(t, sub, "no such port", func(v discovery.View) bool {
				return v.Snapshot.Degraded != nil || errors.Is(reason(v), discovery.ErrPortNotFound)
			})
		})
	}
}

func TestTheLabelOfSlicesTellsAHeadlessServiceThatMayNotBeRead(t *testing.T) {
	for name, tt := range map[string]struct {
		ports    kubetest.Ports
		headless bool
		want     string
	}{
		"headless, no ports":   {kubetest.Ports{}, true, "10.0.0.1:7000"},
		"headless, several":    {kubetest.Ports{"grpc": 9090, "http": 8080}, true, "10.0.0.1:7000"},
		"cluster IP, several":  {kubetest.Ports{"grpc": 9090, "http": 8080}, false, "-"},
		"cluster IP, no ports": {kubetest.Ports{}, false, "-"},
		"cluster IP, one":      {kubetest.Ports{"grpc": 9090}, false, "10.0.0.1:9090"},
	} {
		t.Run(name, func(t *testing.T) {
			server := kubetest.Start()
			defer server.Close()
			server.Forbid(kubetest.Any, kubetest.Services)
			slice := kubetest.Slice("kiada", "quiz", "quiz-a", tt.ports, kubetest.Ready("10.0.0.1", "quiz-0"))
			if tt.headless {
				slice.Labels["service.kubernetes.io/headless"] = ""
			}
			server.SetEndpointSlice(slice)
			awaitEndpoints(t, watch(t, newSource(server), "k8s:///quiz.kiada:7000"), tt.want)
		})
	}
}

// GEP-1911: the Service or the slice may say it.
func TestAppProtocolIsReadFromTheServiceAndFromTheSlice(t *testing.T) {
	for name, tt := range map[string]struct{ service, slice, want string }{
		"the Service":           {"kubernetes.io/h2c", "", "kubernetes.io/h2c"},
		"the slice":             {"", "kubernetes.io/ws", "kubernetes.io/ws"},
		"both":                  {"kubernetes.io/h2c", "kubernetes.io/h2c", "kubernetes.io/h2c"},
		"both, and they differ": {"kubernetes.io/h2c", "http", "http"},
		"neither":               {"", "", ""},
	} {
		for _, target := range []string{"k8s:///quiz.kiada", "k8s:///quiz.kiada:grpc", "k8s:///quiz.kiada:80", "k8s:///quiz.kiada:8080"} {
			t.Run(name+", "+target, func(t *testing.T) {
				server := newServer(t)
				service := kubetest.ClusterIPService("kiada", "quiz", kubetest.Ports{"grpc": 80})
				if tt.service != "" {
					service.Spec.Ports[0].AppProtocol = &tt.service
				}
				server.SetService(service)
				slice := kubetest.Slice("kiada", "quiz", "quiz-a", kubetest.Ports{"grpc": 8080}, kubetest.Ready("10.0.0.1", "quiz-0"))
				if tt.slice != "" {
					slice.Ports[0].AppProtocol = &tt.slice
				}
				server.SetEndpointSlice(slice)
				view := awaitEndpoints(t, watch(t, newSource(server), target), "10.0.0.1:8080")
				if got := view.Snapshot.Endpoints[0].AppProtocol; got != tt.want {
					t.Errorf("appProtocol %q, want %q", got, tt.want)
				}
			})
		}
	}
}

func TestTheClusterIPIsToldWithTheServicesOwnPort(t *testing.T) {
	server := newServer(t)
	setSlice(server, "quiz-a", kubetest.Ready("10.0.0.1", "quiz-0"))
	service := kubetest.ClusterIPService("kiada", "quiz", kubetest.Ports{"grpc": 80})
	service.Spec.InternalTrafficPolicy = new("Local")
	service.Spec.ClusterIPs = []string{"10.96.0.100", "fd00::100"}
	server.SetService(service)
	for _, tt := range []struct {
		target, family, want string
		local                bool
	}{
		{"k8s:///quiz.kiada", "", "10.96.0.100:80", true},
		{"k8s:///quiz.kiada:grpc", "", "10.96.0.100:80", true},
		{"k8s:///quiz.kiada:80", "IPv4", "10.96.0.100:80", true},
		{"k8s:///quiz.kiada:80", "IPv6", "[fd00::100]:80", true},
		{"k8s:///quiz.kiada:8080", "", "", false}, // the pods' own, which nobody forwards
	} {
		source := kube.NewForTest(kube.Config{Host: server.URL(), Client: server.Client(), Family: tt.family}, "/nowhere")
		snapshot, err := discovery.Resolve(soon(t), source, parse(t, tt.target))
		if err != nil {
			t.Fatal(err)
		}
		if got := snapshot.ClusterIP; got.IsValid() != (tt.want != "") || got.IsValid() && got.String() != tt.want || snapshot.LocalOnly != tt.local {
			t.Errorf("%s, %s: cluster IP %v, Local %v, want %s, %v", tt.target, tt.family, got, snapshot.LocalOnly, tt.want, tt.local)
		}
	}

	headless := kubetest.HeadlessService("kiada", "quiz", kubetest.Ports{"grpc": 80})
	headless.Spec.InternalTrafficPolicy = new("Local")
	server.SetService(headless)
	snapshot, err := discovery.Resolve(soon(t), newSource(server), parse(t, "k8s:///quiz.kiada:grpc"))
	if err != nil || snapshot.ClusterIP.IsValid() || snapshot.LocalOnly {
		t.Errorf("headless: %+v, error %v", snapshot, err)
	}
}

func TestASliceBelongsToAServiceByItsLabelWhoeverOwnsIt(t *testing.T) {
	for name, owner := range map[string]kubetest.OwnerReference{
		"another Service":              {APIVersion: "v1", Kind: "Service", Name: "parent", UID: "other"},
		"a Service of another API":     {APIVersion: "serving.knative.dev/v1", Kind: "Service", Name: "quiz", UID: "other"},
		"another kind":                 {APIVersion: "v1", Kind: "ConfigMap", Name: "quiz", UID: "other"},
		"Endpoints, which it mirrors":  {APIVersion: "v1", Kind: "Endpoints", Name: "quiz", UID: "other"},
		"an owner without any of that": {UID: "other"},
	} {
		t.Run(name, func(t *testing.T) {
			server := newServer(t)
			slice := kubetest.Slice("kiada", "quiz", "quiz-a", kubetest.Ports{"grpc": 8080}, kubetest.Ready("10.0.0.1", "quiz-0"))
			slice.OwnerReferences = []kubetest.OwnerReference{owner}
			server.SetEndpointSlice(slice)
			sub := watch(t, newSource(server), "k8s:///quiz.kiada:grpc")
			awaitEndpoints(t, sub, "10.0.0.1:8080")
			slice.OwnerReferences = append(slice.OwnerReferences, kubetest.OwnerReference{APIVersion: "v1", Kind: "Service", Name: "quiz", UID: "earlier"})
			server.SetEndpointSlice(slice)
			await(t, sub, "the slice of an earlier Service", func(v discovery.View) bool {
				return v.Snapshot.Degraded != nil && strings.Contains(v.Snapshot.Degraded.Error(), "earlier Service")
			})
		})
	}
}
