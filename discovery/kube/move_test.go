package kube

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/internal/kubeapi"
)

// A recorder keeps the last Snapshot it was given.
type recorder struct{ last *discovery.Snapshot }

func (r *recorder) Update(s *discovery.Snapshot) { r.last = s }
func (r *recorder) Error(error)                  {}
func (r *recorder) Refresh() <-chan struct{}     { return nil }

// A moving is a watch of quiz:80 in virtual time.
type moving struct {
	*testing.T
	state *state
	got   recorder
}

// moveIn runs a test in a bubble. At its start the Service has the port grpc,
// and two slices have an endpoint each.
func moveIn(t *testing.T, test func(*moving)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		target := quiz
		target.Port = discovery.Port{Number: 80}
		m := &moving{T: t, state: newState(target.Service)}
		ctx, cancel := context.WithCancel(t.Context())
		defer synctest.Wait()
		defer cancel()
		p := publisher{target: target, state: m.state, receiver: &m.got}
		go p.run(ctx)
		m.service("grpc")
		m.state.ofSlices(nil).Replace(nil)
		m.slice("a", "grpc", "10.0.0.1")
		m.slice("b", "grpc", "10.0.0.2")
		m.wants(settle, "10.0.0.1:8080 10.0.0.2:8080", nil)
		test(m)
	})
}

func (m *moving) service(port string) {
	service := kubeapi.Service{
		ObjectMeta: kubeapi.ObjectMeta{Name: "quiz", UID: "now"},
		Spec:       kubeapi.ServiceSpec{Ports: []kubeapi.ServicePort{{Name: port, Port: 80}}},
	}
	m.state.ofService(nil).Replace([]*kubeapi.Service{&service})
}

// slice sets a slice with one endpoint; an empty port stands for no ports.
func (m *moving) slice(name, port, address string) {
	slice := kubeapi.EndpointSlice{
		ObjectMeta:  kubeapi.ObjectMeta{Name: name},
		AddressType: kubeapi.AddressTypeIPv4,
		Endpoints:   []kubeapi.Endpoint{{Addresses: []string{address}}},
	}
	if port != "" {
		slice.Ports = []kubeapi.EndpointPort{{Name: &port, Port: new(int32(8080))}}
	}
	m.state.ofSlices(nil).Apply(kubeapi.Modified, &slice)
}

// wants states what is published after some time, and whether that is said to
// be degraded.
func (m *moving) wants(after time.Duration, endpoints string, degraded error) {
	m.Helper()
	time.Sleep(after) // of virtual time
	synctest.Wait()
	if got := addresses(m.got.last); got != endpoints || !errors.Is(m.got.last.Degraded, degraded) {
		m.Fatalf("after %v: %q, degraded: %v, reason: %v", after, got, m.got.last.Degraded, m.got.last.Reason)
	}
}

// P7.
func TestTheEndpointsStayWhileAPortIsRenamed(t *testing.T) {
	for name, rename := range map[string][2]func(*moving){
		"in the Service first": {
			func(m *moving) { m.service("rpc") },
			func(m *moving) { m.slice("a", "rpc", "10.0.0.1"); m.slice("b", "rpc", "10.0.0.2") },
		},
		"in the slices first": {
			func(m *moving) { m.slice("a", "rpc", "10.0.0.1"); m.slice("b", "rpc", "10.0.0.2") },
			func(m *moving) { m.service("rpc") },
		},
	} {
		t.Run(name, func(t *testing.T) {
			moveIn(t, func(m *moving) {
				rename[0](m)
				m.wants(moveTime-time.Millisecond, "10.0.0.1:8080 10.0.0.2:8080", discovery.ErrPortNotFound)
				rename[1](m)
				m.wants(settle, "10.0.0.1:8080 10.0.0.2:8080", nil)
				m.wants(2*moveTime, "10.0.0.1:8080 10.0.0.2:8080", nil)
			})
		})
	}
}

// P7: with a named targetPort, pods that do not have it are in a slice without
// ports.
func TestTheEndpointsStayWhileThePodsLackTheTargetPort(t *testing.T) {
	moveIn(t, func(m *moving) {
		m.slice("a", "", "10.0.0.1")
		m.wants(settle, "10.0.0.2:8080", nil)
		m.slice("b", "", "10.0.0.2")
		m.wants(settle, "10.0.0.2:8080", discovery.ErrPortNotFound)
		m.slice("c", "grpc", "10.0.0.3")
		m.wants(settle, "10.0.0.3:8080", nil)
	})
}

func TestAPortThatDoesNotComeBackIsAnErrorAfterAWhile(t *testing.T) {
	moveIn(t, func(m *moving) {
		m.service("rpc")
		m.wants(moveTime, "10.0.0.1:8080 10.0.0.2:8080", discovery.ErrPortNotFound)
		m.slice("c", "grpc", "10.0.0.3") // a change of something else does not prolong it
		m.wants(settle, "", nil)
		if !errors.Is(m.got.last.Reason, discovery.ErrPortNotFound) {
			m.Errorf("reason: %v", m.got.last.Reason)
		}
		m.slice("c", "rpc", "10.0.0.3")
		m.wants(settle, "10.0.0.3:8080", nil)
	})
}

// P4: this is an answer, not a moment.
func TestNoPodsCountAtOnce(t *testing.T) {
	moveIn(t, func(m *moving) {
		m.service("rpc")
		m.wants(settle, "10.0.0.1:8080 10.0.0.2:8080", discovery.ErrPortNotFound)
		m.state.ofSlices(nil).Replace(nil)
		m.wants(settle, "", nil)
		m.slice("a", "grpc", "10.0.0.1")
		m.wants(settle, "", nil) // forgotten, and so not kept again
	})
}

func TestTheEndpointsStayWhileTheServiceIsMadeAnew(t *testing.T) {
	moveIn(t, func(m *moving) {
		m.state.ofService(nil).Replace(nil)
		m.wants(settle, "10.0.0.1:8080 10.0.0.2:8080", discovery.ErrServiceNotFound)
		m.service("grpc")
		m.wants(settle, "10.0.0.1:8080 10.0.0.2:8080", nil)
	})
}

func TestTheEndpointsStayUntilANewServiceHasItsSlices(t *testing.T) {
	moveIn(t, func(m *moving) {
		service := kubeapi.Service{
			ObjectMeta: kubeapi.ObjectMeta{Name: "quiz", UID: "new"},
			Spec:       kubeapi.ServiceSpec{Ports: []kubeapi.ServicePort{{Name: "grpc", Port: 80}}},
		}
		m.state.ofService(nil).Replace([]*kubeapi.Service{&service})
		m.state.ofSlices(nil).Replace(nil)
		m.wants(settle, "10.0.0.1:8080 10.0.0.2:8080", discovery.ErrNoEndpoints)
		m.slice("c", "grpc", "10.0.0.3")
		m.wants(settle, "10.0.0.3:8080", nil)
		m.state.ofSlices(nil).Replace(nil)
		m.wants(settle, "", nil) // the same Service, scaled to zero
	})
}

func TestAServiceThatStaysAwayIsAnErrorAfterAWhile(t *testing.T) {
	moveIn(t, func(m *moving) {
		m.state.ofService(nil).Replace(nil)
		m.wants(moveTime, "10.0.0.1:8080 10.0.0.2:8080", discovery.ErrServiceNotFound)
		m.slice("c", "grpc", "10.0.0.3") // which the garbage collector has not reached
		m.wants(settle, "", nil)
		if !errors.Is(m.got.last.Reason, discovery.ErrServiceNotFound) {
			m.Errorf("reason: %v", m.got.last.Reason)
		}
	})
}
