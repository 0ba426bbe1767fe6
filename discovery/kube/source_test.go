package kube_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/kube/kubetest"
)

// P1.
func TestAllSlicesOfAServiceCount(t *testing.T) {
	server := newServer(t)
	setSlice(server, "quiz-a", kubetest.Ready("10.0.0.1", "quiz-0"), kubetest.Ready("10.0.0.2", "quiz-1"))
	setSlice(server, "quiz-b", kubetest.NotReady("10.0.0.3", "quiz-2"))
	server.SetEndpointSlice(kubetest.Slice("kiada", "quote", "quote-a", kubetest.Ports{"grpc": 8080}, kubetest.Ready("10.0.0.9", "quote-0")))
	server.SetEndpointSlice(kubetest.Slice("elsewhere", "quiz", "quiz-a", kubetest.Ports{"grpc": 8080}, kubetest.Ready("10.0.0.8", "quiz-0")))

	view := awaitEndpoints(t, watch(t, newSource(server), "k8s:///quiz"), "10.0.0.1:8080 10.0.0.2:8080 10.0.0.3:8080")
	if got := view.Snapshot.Ready(); got != 2 {
		t.Errorf("%d endpoints are ready, want 2", got)
	}
}

// P2: an address lives on in another slice.
func TestADeletedSliceTakesOnlyItsOwnEndpointsAlong(t *testing.T) {
	server := newServer(t)
	setSlice(server, "quiz-a", kubetest.Ready("10.0.0.1", "quiz-0"))
	setSlice(server, "quiz-b", kubetest.Ready("10.0.0.2", "quiz-1"))
	setSlice(server, "quiz-c", kubetest.Ready("10.0.0.2", "quiz-1"), kubetest.Ready("10.0.0.3", "quiz-2"))
	sub := watch(t, newSource(server), "k8s:///quiz")
	awaitEndpoints(t, sub, "10.0.0.1:8080 10.0.0.2:8080 10.0.0.3:8080")

	server.DeleteEndpointSlice("kiada", "quiz-b")
	server.DeleteEndpointSlice("kiada", "quiz-a")
	awaitEndpoints(t, sub, "10.0.0.2:8080 10.0.0.3:8080")
}

// P4: empty after a successful read.
func TestAnEmptiedSliceAndAServiceScaledToZeroAreDelivered(t *testing.T) {
	server := newServer(t)
	setSlice(server, "quiz-a", kubetest.Ready("10.0.0.1", "quiz-0"))
	setSlice(server, "quiz-b", kubetest.Ready("10.0.0.2", "quiz-1"))
	sub := watch(t, newSource(server), "k8s:///quiz")
	awaitEndpoints(t, sub, "10.0.0.1:8080 10.0.0.2:8080")

	server.SetEndpointSlice(kubetest.Slice("kiada", "quiz", "quiz-a", nil)) // ports and endpoints are null
	awaitEndpoints(t, sub, "10.0.0.2:8080")
	server.SetEndpointSlice(kubetest.Slice("kiada", "quiz", "quiz-b", kubetest.Ports{}))
	empty := awaitEndpoints(t, sub, "-")
	if err := empty.Snapshot.Unusable(sub.Target()); !errors.Is(err, discovery.ErrNoEndpoints) {
		t.Errorf("error: %v", err)
	}
	setSlice(server, "quiz-b", kubetest.Ready("10.0.0.3", "quiz-2"))
	awaitEndpoints(t, sub, "10.0.0.3:8080")
}

func TestASliceThatLosesItsLabelIsGone(t *testing.T) {
	server := newServer(t)
	setSlice(server, "quiz-a", kubetest.Ready("10.0.0.1", "quiz-0"))
	sub := watch(t, newSource(server), "k8s:///quiz")
	awaitEndpoints(t, sub, "10.0.0.1:8080")
	waitWatches(t, server, 2)

	orphan := kubetest.Slice("kiada", "quiz", "quiz-a", kubetest.Ports{"grpc": 8080}, kubetest.Ready("10.0.0.1", "quiz-0"))
	orphan.Labels = nil
	server.SetEndpointSlice(orphan)
	awaitEndpoints(t, sub, "-")
}

// P14.
func TestAMissingServiceIsNamedAndFoundOnceItIsThere(t *testing.T) {
	server := newServer(t)
	sub := watch(t, newSource(server), "k8s:///quote:grpc")
	missing := awaitEndpoints(t, sub, "-")
	err := missing.Snapshot.Unusable(sub.Target())
	if !errors.Is(err, discovery.ErrServiceNotFound) || err.Error() != "k8s:///quote.kiada:grpc: no such service: namespace kiada has no Service quote" {
		t.Errorf("error: %v", err)
	}
	server.SetService(kubetest.ClusterIPService("kiada", "quote", kubetest.Ports{"grpc": 80}))
	server.SetEndpointSlice(kubetest.Slice("kiada", "quote", "quote-a", kubetest.Ports{"grpc": 8080}, kubetest.Ready("10.0.0.1", "quote-0")))
	awaitEndpoints(t, sub, "10.0.0.1:8080")
}

func TestADeletedServiceHasNoEndpointsThoughItsSlicesLinger(t *testing.T) {
	server := newServer(t)
	server.SetService(kubetest.Service{
		ObjectMeta: kubetest.ObjectMeta{Name: "quiz", Namespace: "kiada", UID: "first"},
		Spec:       kubetest.ServiceSpec{Ports: []kubetest.ServicePort{{Name: "grpc", Port: 80}}},
	})
	slice := kubetest.Slice("kiada", "quiz", "quiz-a", kubetest.Ports{"grpc": 8080}, kubetest.Ready("10.0.0.1", "quiz-0"))
	slice.OwnerReferences = []kubetest.OwnerReference{{APIVersion: "v1", Kind: "Service", Name: "quiz", UID: "first"}}
	server.SetEndpointSlice(slice)
	sub := watch(t, newSource(server), "k8s:///quiz:grpc")
	awaitEndpoints(t, sub, "10.0.0.1:8080")

	server.DeleteService("kiada", "quiz")
	if gone := awaitEndpoints(t, sub, "-"); !errors.Is(gone.Snapshot.Reason, discovery.ErrServiceNotFound) {
		t.Errorf("reason: %v", gone.Snapshot.Reason)
	}
	// A new Service of that name does not inherit the slices of the old one.
	again := kubetest.ClusterIPService("kiada", "quiz", kubetest.Ports{"grpc": 80})
	again.UID = "second"
	server.SetService(again)
	await(t, sub, "the new Service", func(v discovery.View) bool { return errors.Is(reason(v), discovery.ErrNoEndpoints) })

	slice.OwnerReferences[0].UID, slice.Name = "second", "quiz-b"
	server.SetEndpointSlice(slice)
	awaitEndpoints(t, sub, "10.0.0.1:8080")
}

func TestTheTrafficPolicyOfTheServiceIsDelivered(t *testing.T) {
	server := newServer(t)
	setSlice(server, "quiz-a", kubetest.Ready("10.0.0.1", "quiz-0").OnNode("node-a").InZone("zone-1").ForZones("zone-2").ForNodes("node-b"))
	sub := watch(t, newSource(server), "k8s:///quiz")
	view := awaitEndpoints(t, sub, "10.0.0.1:8080")
	got := view.Snapshot.Endpoints[0]
	want := discovery.Endpoint{
		Addr: got.Addr, UID: "uid-quiz-0", Pod: "quiz-0", Node: "node-a", Zone: "zone-1", Ready: true, Serving: true,
		Hints: discovery.Hints{Zones: []string{"zone-2"}, Nodes: []string{"node-b"}},
	}
	if !got.Equal(&want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if view.Snapshot.LocalOnly {
		t.Error("local only although the policy is Cluster")
	}
	local := kubetest.ClusterIPService("kiada", "quiz", kubetest.Ports{"grpc": 80})
	local.Spec.InternalTrafficPolicy = new("Local")
	server.SetService(local)
	await(t, sub, "policy Local", func(v discovery.View) bool { return v.Snapshot != nil && v.Snapshot.LocalOnly })
}

func TestSessionAffinityIsDeliveredExceptOfHeadlessServices(t *testing.T) {
	server := newServer(t)
	setSlice(server, "quiz-a", kubetest.Ready("10.0.0.1", "quiz-0"))
	sub := watch(t, newSource(server), "k8s:///quiz")
	if view := awaitEndpoints(t, sub, "10.0.0.1:8080"); view.Snapshot.ClientAffinity {
		t.Error("affinity although there is none")
	}
	service := kubetest.ClusterIPService("kiada", "quiz", kubetest.Ports{"grpc": 80})
	service.Spec.SessionAffinity = "ClientIP"
	server.SetService(service)
	await(t, sub, "affinity", func(v discovery.View) bool { return v.Snapshot.ClientAffinity })
	service.Spec.ClusterIP = "None"
	server.SetService(service)
	await(t, sub, "no affinity", func(v discovery.View) bool { return !v.Snapshot.ClientAffinity })
}

// P16.
func TestAllNamesOfAServiceShareOneListAndOneWatchOfEachKind(t *testing.T) {
	server := newServer(t)
	setSlice(server, "quiz-a", kubetest.Ready("10.0.0.1", "quiz-0"))
	source := newSource(server)
	for _, name := range []string{"quiz:grpc", "quiz.kiada:grpc", "quiz.kiada.svc:grpc", "quiz.kiada.svc.cluster.local:grpc"} {
		for range 5 {
			awaitEndpoints(t, watch(t, source, "k8s:///"+name), "10.0.0.1:8080")
		}
	}
	waitWatches(t, server, 2)
	for _, resource := range []string{kubetest.EndpointSlices, kubetest.Services} {
		if lists, watches := lists(server, resource), server.Count(kubetest.Watch, resource); lists != 1 || watches != 1 {
			t.Errorf("%s: %d lists and %d watches", resource, lists, watches)
		}
	}
}

func TestPortsOfAServiceShareItsWatches(t *testing.T) {
	server := newServer(t)
	server.SetService(kubetest.ClusterIPService("kiada", "quiz", kubetest.Ports{"grpc": 9090, "http": 80}))
	server.SetEndpointSlice(kubetest.Slice("kiada", "quiz", "quiz-a", kubetest.Ports{"grpc": 8080, "http": 8081}, kubetest.Ready("10.0.0.1", "quiz-0")))
	source := newSource(server)
	grpc := watch(t, source, "k8s:///quiz:grpc")
	awaitEndpoints(t, grpc, "10.0.0.1:8080")
	http := watch(t, source, "k8s:///quiz:80")
	awaitEndpoints(t, http, "10.0.0.1:8081")
	grpc.Close()
	server.SetEndpointSlice(kubetest.Slice("kiada", "quiz", "quiz-a", kubetest.Ports{"http": 8081}, kubetest.Ready("10.0.0.2", "quiz-1")))
	awaitEndpoints(t, http, "10.0.0.2:8081")
	for _, resource := range []string{kubetest.EndpointSlices, kubetest.Services} {
		if lists, watches := lists(server, resource), server.Count(kubetest.Watch, resource); lists != 1 || watches != 1 {
			t.Errorf("%s: %d lists and %d watches, want one of each", resource, lists, watches)
		}
	}
	http.Close()
	waitWatches(t, server, 0)
}

// P15; TestMain sees to it that no goroutine is left.
func TestCloseEndsTheWatchesAtTheServer(t *testing.T) {
	server := newServer(t)
	sub := watch(t, newSource(server), "k8s:///quiz:grpc")
	waitWatches(t, server, 2)
	sub.Close()
	sub.Close()
	waitWatches(t, server, 0)
}

func TestABurstOfChangesBecomesFewSnapshots(t *testing.T) {
	server := newServer(t)
	sub := watch(t, newSource(server), "k8s:///quiz:grpc")
	awaitEndpoints(t, sub, "-")
	waitWatches(t, server, 2)
	for i := range 100 {
		setSlice(server, "quiz-a", kubetest.Ready("10.0.0.1", "quiz-0").WithUID(strings.Repeat("x", i)), kubetest.Ready("10.0.0.2", "quiz-1"))
	}
	setSlice(server, "quiz-a", kubetest.Ready("10.0.0.3", "quiz-2"))
	views := 0
	await(t, sub, "the last change", func(v discovery.View) bool {
		views++
		return text(v.Snapshot) == "10.0.0.3:8080"
	})
	if views > 50 {
		t.Errorf("%d views of 101 changes", views)
	}
}
