package kube_test

import (
	"errors"
	"testing"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/kube"
	"github.com/sidestep-lb/sidestep/discovery/kube/kubetest"
)

// A Service whose ports are 9090 and 80, and two slices of pods that have
// different numbers for the same names.
func serviceWithTwoPorts(t *testing.T) *kubetest.Server {
	t.Helper()
	server := newServer(t)
	server.SetService(kubetest.ClusterIPService("kiada", "quiz", kubetest.Ports{"grpc": 9090, "http": 80}))
	server.SetEndpointSlice(kubetest.Slice("kiada", "quiz", "quiz-a", kubetest.Ports{"grpc": 5001, "http": 5002}, kubetest.Ready("10.0.0.1", "quiz-0")))
	server.SetEndpointSlice(kubetest.Slice("kiada", "quiz", "quiz-b", kubetest.Ports{"grpc": 6001, "http": 6002}, kubetest.Ready("10.0.0.2", "quiz-1")))
	server.SetEndpointSlice(kubetest.Slice("kiada", "quiz", "quiz-c", kubetest.Ports{}, kubetest.Ready("10.0.0.3", "quiz-2")))
	return server
}

// P7: one name has several numbers, and one slice has no ports.
func TestAPortIsANameOrANumberOfTheServiceOrOfThePods(t *testing.T) {
	server := serviceWithTwoPorts(t)
	source := newSource(server)
	for target, want := range map[string]string{
		"k8s:///quiz:grpc": "10.0.0.1:5001 10.0.0.2:6001",
		"k8s:///quiz:http": "10.0.0.1:5002 10.0.0.2:6002",
		"k8s:///quiz:9090": "10.0.0.1:5001 10.0.0.2:6001",
		"k8s:///quiz:80":   "10.0.0.1:5002 10.0.0.2:6002",
		"k8s:///quiz:6001": "10.0.0.2:6001", // a number of the pods only
	} {
		awaitEndpoints(t, watch(t, source, target), want)
	}
}

// P7 and P14.
func TestAPortThatIsNotThereIsAnErrorThatListsThoseThatAre(t *testing.T) {
	server := serviceWithTwoPorts(t)
	source := newSource(server)
	for target, want := range map[string]string{
		"k8s:///quiz:grpcx": "k8s:///quiz.kiada:grpcx: no such port: the Service has grpc (9090), http (80)",
		"k8s:///quiz:81":    "k8s:///quiz.kiada:81: no such port: the Service has grpc (9090), http (80)",
		"k8s:///quiz":       "k8s:///quiz.kiada: no such port: the target names none and the Service has grpc (9090), http (80)",
	} {
		view := awaitEndpoints(t, watch(t, source, target), "-")
		if err := view.Snapshot.Reason; !errors.Is(err, discovery.ErrPortNotFound) || err.Error() != want {
			t.Errorf("%s: %v", target, err)
		}
	}
}

// P14: the error says which rule is missing.
func TestWithoutTheRightToReadServicesNamesAndPodPortsStillWork(t *testing.T) {
	server := serviceWithTwoPorts(t)
	server.Forbid(kubetest.Any, kubetest.Services)
	source := newSource(server)
	for target, want := range map[string]string{
		"k8s:///quiz:grpc": "10.0.0.1:5001 10.0.0.2:6001",
		"k8s:///quiz:6002": "10.0.0.2:6002",
	} {
		awaitEndpoints(t, watch(t, source, target), want)
	}
	const needed = `, and to look up the Service's own ports takes the rule {apiGroups: [""], resources: [services], verbs: [get, list, watch]}`
	for target, want := range map[string]string{
		"k8s:///quiz:grpcx": "k8s:///quiz.kiada:grpcx: no such port: the pods have grpc (5001), grpc (6001), http (5002), http (6002)",
		"k8s:///quiz:80":    "k8s:///quiz.kiada:80: no such port: the pods have grpc (5001), grpc (6001), http (5002), http (6002)" + needed,
		"k8s:///quiz":       "k8s:///quiz.kiada: no such port: the pods have grpc (5001), grpc (6001), http (5002), http (6002)" + needed,
	} {
		view := awaitEndpoints(t, watch(t, source, target), "-")
		if err := view.Snapshot.Reason; !errors.Is(err, discovery.ErrPortNotFound) || err.Error() != want {
			t.Errorf("%s: %v", target, err)
		}
	}
}

func TestWithoutTheRightToReadServicesTheOnlyPortServesAnyNumber(t *testing.T) {
	server := newServer(t)
	setSlice(server, "quiz-a", kubetest.Ready("10.0.0.1", "quiz-0"))
	server.Forbid(kubetest.Any, kubetest.Services)
	source := newSource(server)
	for _, target := range []string{"k8s:///quiz", "k8s:///quiz:80", "k8s:///quiz:8080", "k8s:///quiz:grpc"} {
		awaitEndpoints(t, watch(t, source, target), "10.0.0.1:8080")
	}
}

func TestAnUnnamedPortIsFoundByItsNumberOrByNoneAtAll(t *testing.T) {
	server := newServer(t)
	server.SetService(kubetest.ClusterIPService("kiada", "quiz", kubetest.Ports{"": 80}))
	server.SetEndpointSlice(kubetest.Slice("kiada", "quiz", "quiz-a", kubetest.Ports{"": 8080}, kubetest.Ready("10.0.0.1", "quiz-0")))
	source := newSource(server)
	awaitEndpoints(t, watch(t, source, "k8s:///quiz"), "10.0.0.1:8080")
	awaitEndpoints(t, watch(t, source, "k8s:///quiz:80"), "10.0.0.1:8080")

	view := awaitEndpoints(t, watch(t, source, "k8s:///quiz:grpc"), "-")
	if err := view.Snapshot.Reason; err == nil || err.Error() != "k8s:///quiz.kiada:grpc: no such port: the Service has 80" {
		t.Errorf("reason: %v", err)
	}
}

// P7.
func TestPodsWithoutTheServicesPortAreAnError(t *testing.T) {
	server := newServer(t)
	server.SetEndpointSlice(kubetest.Slice("kiada", "quiz", "quiz-a", kubetest.Ports{}, kubetest.Ready("10.0.0.1", "quiz-0")))
	view := awaitEndpoints(t, watch(t, newSource(server), "k8s:///quiz:grpc"), "-")
	if err := view.Snapshot.Reason; !errors.Is(err, discovery.ErrPortNotFound) {
		t.Errorf("reason: %v", err)
	}
}

// P19.
func TestAnExternalNameServiceIsAnErrorThatSaysSo(t *testing.T) {
	server := newServer(t)
	alias := kubetest.ExternalNameService("kiada", "quiz", "db.example.com")
	alias.Spec.Ports = []kubetest.ServicePort{{Name: "sql", Port: 5432}}
	server.SetService(alias)
	source := newSource(server)
	for target, want := range map[string]discovery.Port{
		"k8s:///quiz":      {Number: 5432},
		"k8s:///quiz:sql":  {Number: 5432},
		"k8s:///quiz:80":   {Number: 80},
		"k8s:///quiz:http": {Name: "http"},
	} {
		view := awaitEndpoints(t, watch(t, source, target), "-")
		err := view.Snapshot.Unusable(parse(t, target))
		external, ok := errors.AsType[*kube.ExternalNameError](err)
		if !ok || external.Name != "db.example.com" || external.Port != want || !errors.Is(err, discovery.ErrNoEndpoints) {
			t.Errorf("%s: %v", target, err)
		}
	}
	const want = "k8s:///quiz.kiada:80: no endpoint ready: the Service is of type ExternalName, an alias of db.example.com, port 80, and never has any"
	if s, err := discovery.Resolve(soon(t), source, parse(t, "k8s:///quiz:80")); err != nil || s.Reason.Error() != want {
		t.Errorf("reason: %v, error: %v", s.Reason, err)
	}
}

func TestAnExternalNameServiceWithoutPortsLeavesTheTargetsAsItIs(t *testing.T) {
	server := newServer(t)
	server.SetService(kubetest.ExternalNameService("kiada", "quiz", "db.example.com"))
	source := newSource(server)
	for _, target := range []string{"k8s:///quiz", "k8s:///quiz:sql", "k8s:///quiz:80"} {
		view := awaitEndpoints(t, watch(t, source, target), "-")
		if external, ok := errors.AsType[*kube.ExternalNameError](view.Snapshot.Reason); !ok || external.Port != parse(t, target).Port {
			t.Errorf("%s: %v", target, view.Snapshot.Reason)
		}
	}
}
