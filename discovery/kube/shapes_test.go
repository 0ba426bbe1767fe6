package kube

import (
	"errors"
	"testing"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/internal/kubeapi"
)

// quiz0 is what a slice holds of one pod that is ready.
const quiz0 = `"endpoints":[{"addresses":["10.0.0.1"],"targetRef":{"kind":"Pod","name":"quiz-0","uid":"0"}}],` + grpc8080

// P7 and P19: by whom a slice was made, and for which kind of Service, makes no
// difference. kube-proxy does not ask either.
func TestSlicesServeWhoeverMadeThem(t *testing.T) {
	for name, slice := range map[string]string{
		"the controller": `{"metadata":{"labels":{"endpointslice.kubernetes.io/managed-by":"endpointslice-controller.k8s.io"},
			"ownerReferences":[{"apiVersion":"v1","kind":"Service","name":"quiz","uid":"now","controller":true}]},` + quiz0 + `}`,
		"the mirroring controller": `{"metadata":{"labels":{"endpointslice.kubernetes.io/managed-by":"endpointslicemirroring-controller.k8s.io"},
			"ownerReferences":[{"apiVersion":"v1","kind":"Endpoints","name":"quiz","uid":"e"}]},` + quiz0 + `}`,
		"a person":       `{` + quiz0 + `}`,
		"somebody else":  `{"metadata":{"labels":{"endpointslice.kubernetes.io/managed-by":"example.com"},"ownerReferences":[{"kind":"Gateway","uid":"g"}]},` + quiz0 + `}`,
		"an own service": `{"metadata":{"labels":{"service.kubernetes.io/headless":""},"ownerReferences":[{"kind":"Service","uid":"now"}]},` + quiz0 + `}`,
	} {
		f := slicesOf(t, slice).withService()
		for _, kind := range []string{"", "ClusterIP", "NodePort", "LoadBalancer"} {
			f.service.Spec.Type = kind
			if s, err := merge(quiz, f, &memo{}); addresses(s) != "10.0.0.1:8080" || s.Reason != nil || err != nil {
				t.Errorf("made by %s, for type %q: %s, reason %v, refused %v", name, kind, addresses(s), s.Reason, err)
			}
		}
	}
}

// A mirrored slice has no other condition than ready, no pods, nodes and hints.
// What was not ready in the Endpoints is therefore no fall-back either: it does
// not terminate.
func TestMirroredSlicesHaveOnlyTheConditionReady(t *testing.T) {
	s, _ := merge(quiz, slicesOf(t, `{"endpoints":[
		{"addresses":["192.0.2.1"],"conditions":{"ready":true}},
		{"addresses":["192.0.2.2"],"conditions":{"ready":false}}],`+grpc8080+`}`).withService(), &memo{})
	if len(s.Endpoints) != 2 {
		t.Fatalf("endpoints %v", s.Endpoints)
	}
	if e := s.Endpoints[0]; !e.Ready || !e.Serving || e.Terminating || e.Pod != "" || e.UID != "" {
		t.Errorf("ready: %+v", e)
	}
	if e := s.Endpoints[1]; e.Ready || !e.Serving || e.Terminating {
		t.Errorf("not ready: %+v", e)
	}
}

// P1 and P7: pods of one Service, with a targetPort given by name, have
// different numbers for it. The same address with two numbers is two endpoints,
// as in kube-proxy.
func TestAPortNameHasAnotherNumberInEachSlice(t *testing.T) {
	f := slicesOf(t,
		`{"endpoints":[{"addresses":["10.0.0.1"]},{"addresses":["10.0.0.2"]}],"ports":[{"name":"grpc","port":5001},{"name":"http","port":5002}]}`,
		`{"endpoints":[{"addresses":["10.0.0.3"]},{"addresses":["10.0.0.1"]}],"ports":[{"name":"http","port":6002},{"name":"grpc","port":6001}]}`,
		`{"endpoints":[{"addresses":["10.0.0.4"]}],"ports":[{"name":"metrics","port":5001}]}`,
	).withService()
	if s, _ := merge(quiz, f, &memo{}); addresses(s) != "10.0.0.1:5001 10.0.0.1:6001 10.0.0.2:5001 10.0.0.3:6001" {
		t.Errorf("got %s", addresses(s))
	}
}

// An unnamed port is the empty name, given or not, with the protocol TCP if it
// has none.
func TestAPortNeedsNeitherANameNorAProtocol(t *testing.T) {
	for _, port := range []string{`{"port":8080}`, `{"name":null,"port":8080,"protocol":null}`, `{"name":"","port":8080,"protocol":"TCP"}`} {
		f := slicesOf(t, `{"endpoints":[{"addresses":["10.0.0.1"]}],"ports":[`+port+`]}`).withService()
		f.service.Spec.Ports = []kubeapi.ServicePort{{Port: 80}}
		target := quiz
		target.Port = discovery.Port{Number: 80}
		if s, _ := merge(target, f, &memo{}); addresses(s) != "10.0.0.1:8080" {
			t.Errorf("%s: %s, reason %v", port, addresses(s), s.Reason)
		}
	}
}

// A Service without endpoints keeps one slice for each address family, with
// nothing in it. It is no error of any kind.
func TestPlaceholdersSayThatThereAreNoPods(t *testing.T) {
	for _, placeholder := range []string{`{"endpoints":null,"ports":null}`, `{"endpoints":[],"ports":[]}`, `{}`} {
		for name, f := range map[string]serviceState{
			"with the Service":    slicesOf(t, placeholder, `{"addressType":"IPv6"}`).withService(),
			"without the Service": slicesOf(t, placeholder, `{"addressType":"IPv6"}`),
		} {
			for _, port := range []discovery.Port{{}, {Name: "grpc"}, {Number: 80}} {
				target := quiz
				target.Port = port
				s, err := merge(target, f, &memo{})
				if len(s.Endpoints) > 0 || s.Reason != nil || err != nil {
					t.Errorf("%s, port %q, %s: %s, reason %v, refused %v", placeholder, port, name, addresses(s), s.Reason, err)
				}
			}
		}
	}
}

// Without the Service its UID is unknown, and the slices are all there is to go by.
func TestTheOwnerCountsOnlyIfTheServiceIsKnown(t *testing.T) {
	before := `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Service","name":"quiz","uid":"before"}]},` + quiz0 + `}`
	if s, _ := merge(quiz, slicesOf(t, before), &memo{}); addresses(s) != "10.0.0.1:8080" {
		t.Errorf("Service not known: %s", addresses(s))
	}
	if s, _ := merge(quiz, slicesOf(t, before).withService(), &memo{}); len(s.Endpoints) > 0 || !errors.Is(s.Reason, discovery.ErrNoEndpoints) {
		t.Errorf("another Service: %s, reason %v", addresses(s), s.Reason)
	}
	deleted := slicesOf(t, before)
	deleted.serviceRead = true
	if s, _ := merge(quiz, deleted, &memo{}); !errors.Is(s.Reason, discovery.ErrServiceNotFound) {
		t.Errorf("no Service: %s, reason %v", addresses(s), s.Reason)
	}
}
