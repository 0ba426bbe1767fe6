package kube_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/kube"
	"github.com/sidestep-lb/sidestep/discovery/kube/kubetest"
)

// The mistakes that clients of Services have been seen to make are numbered P1
// to P25. A test that guards against one of them says so in its comment, here
// and in the other files:
//
//	P1  one slice taken for the whole Service             source_test, merge_test
//	P2  a deleted slice takes shared addresses along      source_test
//	P3  a relist adds and does not replace                faults_test
//	P4  a failed read passes for an empty one             source_test, faults_test
//	P5  absent conditions misread                         merge_test
//	P6  terminating pods get traffic, or never any        merge_test; discovery/topology
//	P7  port names, numbers per slice, no ports           port_test, merge_test, move_test
//	P8  410 in both forms, events that make no sense      faults_test
//	P9  no bookmarks, watches that never or always end    faults_test; internal/kubeapi
//	P10 a connection that is dead without a word          here; internal/kubeapi
//	P11 a thundering herd                                 faults_test, jitter_test; internal/kubeapi
//	P12 a token is read once                              incluster_test; internal/kubeapi
//	P13 the constructor blocks, or fails the process      faults_test, incluster_test
//	P14 errors that do not say what is wrong              here, faults_test, port_test
//	P15 Close leaves something behind                     source_test
//	P16 one watch for each connection                     source_test, wide_test
//	P17 limits on the length of a stream                  here; internal/kubeapi
//	P19 IPv6, host names, kinds of Services               here, shapes_test, merge_test
//	P25 documented rights that do not suffice             here, faults_test
//
// The others are no business of this package: side effects at import (P18),
// hints (P20, discovery/topology), subsets (P21, discovery/selection/subset), names in TLS
// (P22) and gRPC's own (P23) in the adapters, weight (P24, .ci/weight).

// P10: neither side closes the connection, and nothing comes any more.
func TestAConnectionThatDiesSilentlyIsFoundOut(t *testing.T) {
	server := newServer(t)
	setSlice(server, "quiz-a", kubetest.Ready("10.0.0.1", "quiz-0"))
	sub := watch(t, kube.Impatient(newSource(server), 100*time.Millisecond), "k8s:///quiz:grpc")
	awaitEndpoints(t, sub, "10.0.0.1:8080")
	server.Stall()
	setSlice(server, "quiz-a", kubetest.Ready("10.0.0.2", "quiz-1"))
	stale := await(t, sub, "a stale view", discovery.View.Stale)
	if got := text(stale.Snapshot); got != "10.0.0.1:8080" {
		t.Errorf("while nothing comes: %s", got)
	}
	server.Resume()
	awaitEndpoints(t, sub, "10.0.0.2:8080")
}

// P14: a Service without slices, without pods, and without pods that are ready.
func TestWhyNothingServesIsToldApart(t *testing.T) {
	for name, tc := range map[string]struct {
		prepare func(*kubetest.Server)
		target  string
		is      error
		text    string
	}{
		"no namespace": {
			func(*kubetest.Server) {}, "k8s:///quiz.nowhere:grpc",
			discovery.ErrServiceNotFound, "no such service: namespace nowhere has no Service quiz",
		},
		"no slices": {
			func(*kubetest.Server) {}, "k8s:///quiz:grpc",
			discovery.ErrNoEndpoints, "no endpoint ready: it has no pods",
		},
		"a placeholder": {
			func(s *kubetest.Server) { s.SetEndpointSlice(kubetest.Slice("kiada", "quiz", "quiz-a", nil)) }, "k8s:///quiz:grpc",
			discovery.ErrNoEndpoints, "no endpoint ready: it has no pods",
		},
		"none ready": {
			func(s *kubetest.Server) { setSlice(s, "quiz-a", kubetest.NotReady("10.0.0.1", "quiz-0")) }, "k8s:///quiz:grpc",
			discovery.ErrNoEndpoints, "no endpoint ready: 0 of its 1 endpoints are ready",
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := newServer(t)
			tc.prepare(server)
			snapshot, err := discovery.Resolve(soon(t), newSource(server), parse(t, tc.target))
			if err != nil {
				t.Fatal(err)
			}
			if err := snapshot.Unusable(parse(t, tc.target)); !errors.Is(err, tc.is) || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("error: %v", err)
			}
		})
	}
}

// P17: a slice may have 1000 endpoints, and annotations of 256 KB.
func TestASliceAsLargeAsTheyGetIsReadFromAListAndFromAWatch(t *testing.T) {
	large := func(name, second string) kubetest.EndpointSlice {
		var endpoints []kubetest.Endpoint
		for i := range 1000 {
			endpoints = append(endpoints, kubetest.Ready(fmt.Sprintf("10.%s.%d.%d", second, i/250, i%250), fmt.Sprintf("quiz-%d", i)))
		}
		slice := kubetest.Slice("kiada", "quiz", name, kubetest.Ports{"grpc": 8080}, endpoints...)
		slice.Annotations = map[string]string{"long": strings.Repeat("x", 256<<10)}
		return slice
	}
	server := newServer(t)
	server.SetEndpointSlice(large("quiz-a", "1"))
	sub := watch(t, newSource(server), "k8s:///quiz:grpc")
	await(t, sub, "1000 endpoints", func(v discovery.View) bool { return v.Snapshot != nil && len(v.Snapshot.Endpoints) == 1000 })
	waitWatches(t, server, 2)
	server.SetEndpointSlice(large("quiz-b", "2"))
	await(t, sub, "2000 endpoints", func(v discovery.View) bool { return len(v.Snapshot.Endpoints) == 2000 })
}

// P19: a cluster that has IPv6 only.
func TestIPv6AddressesAreWrittenWithBrackets(t *testing.T) {
	server := newServer(t)
	setSlice(server, "quiz-a", kubetest.Ready("2001:db8::1", "quiz-0"))
	awaitEndpoints(t, watch(t, newSource(server), "k8s:///quiz:grpc"), "[2001:db8::1]:8080")
}

// P25: no other request is made than those that Role allows.
func TestTheRoleSuffices(t *testing.T) {
	server, _ := watched(t)
	server.EndWatches()
	waitWatches(t, server, 2)
	for _, r := range server.Requests() {
		if r.Verb != kubetest.List && r.Verb != kubetest.Watch || r.Namespace != "kiada" || r.Resource == "" {
			t.Errorf("%s %s", r.Method, r.Path)
		}
		if !strings.Contains(kube.Role("kiada"), r.Resource) || !strings.Contains(kube.Role("kiada"), r.Verb) {
			t.Errorf("the Role does not allow to %s %s", r.Verb, r.Resource)
		}
	}
}
