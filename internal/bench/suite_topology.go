package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/topology"
)

// cases is how many random Services the suite shows to both, always the same.
const cases = 200_000

// topologySuite asks kube-proxy's own code and package topology for the
// endpoints of the same random Services.
func topologySuite(ctx context.Context, _ options) ([]table, error) {
	rnd := rand.New(rand.NewPCG(1, 37))
	modes := make(map[topology.Mode]int)
	differences := 0
	for n := range cases {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		at, service, slice := randomPlace(rnd), randomService(rnd), randomSlice(rnd)
		snapshot := snapshotOf(service, slice)
		here := topology.Locality{Node: at.node, Zone: at.labels[corev1.LabelTopologyZone]}
		theirs, ours := kubeProxy(at, service, slice), selected(snapshot, here)
		if !slices.Equal(ours, theirs) {
			differences++
			if differences == 1 {
				counterexample(n, at, service, slice, ours, theirs)
			}
		}
		modes[topology.Explain(snapshot, here).Mode]++
	}
	return []table{topologyTable(differences, modes)}, nil
}

func topologyTable(differences int, modes map[topology.Mode]int) table {
	t := table{
		title:   "The endpoints that clients of random Services use, beside kube-proxy 1.37 (CategorizeEndpoints):",
		columns: []column{{"discovery/topology", true}},
	}
	add := func(what string, target target, figure int) {
		t.rows = append(t.rows, row{what: what, target: target, cells: [][]float64{{float64(figure)}}})
	}
	add("cases", exactly(cases), sum(modes))
	add("cases in which kube-proxy uses others", exactly(0), differences)
	for _, mode := range []topology.Mode{
		topology.All, topology.SameNode, topology.SameZone, topology.Terminating,
		topology.LocalOnly, topology.LocalTerminating, topology.None,
	} {
		// A mode that hardly comes up shows nothing.
		add("cases by mode: "+string(mode), atLeast(1000, "1,000"), modes[mode])
	}
	return t
}

func sum(modes map[topology.Mode]int) int {
	n := 0
	for _, count := range modes {
		n += count
	}
	return n
}

// snapshotOf is what discovery/kube makes of the objects.
func snapshotOf(service *corev1.Service, slice *discoveryv1.EndpointSlice) *discovery.Snapshot {
	policy := service.Spec.InternalTrafficPolicy
	s := &discovery.Snapshot{LocalOnly: policy != nil && *policy == corev1.ServiceInternalTrafficPolicyLocal}
	for i := range slice.Endpoints {
		e := &slice.Endpoints[i]
		endpoint := discovery.Endpoint{
			Addr:        netip.AddrPortFrom(netip.MustParseAddr(e.Addresses[0]), uint16(*slice.Ports[0].Port)),
			Node:        orDefault(e.NodeName, ""),
			Ready:       orDefault(e.Conditions.Ready, true),
			Serving:     orDefault(e.Conditions.Serving, true),
			Terminating: orDefault(e.Conditions.Terminating, false),
		}
		if e.Hints != nil {
			for _, zone := range e.Hints.ForZones {
				endpoint.Hints.Zones = append(endpoint.Hints.Zones, zone.Name)
			}
			for _, node := range e.Hints.ForNodes {
				endpoint.Hints.Nodes = append(endpoint.Hints.Nodes, node.Name)
			}
		}
		s.Endpoints = append(s.Endpoints, endpoint)
	}
	return s
}

func orDefault[T any](p *T, absent T) T {
	if p == nil {
		return absent
	}
	return *p
}

func selected(s *discovery.Snapshot, at topology.Locality) []string {
	var addresses []string
	for _, level := range topology.Select(s, at) {
		for _, e := range level {
			addresses = append(addresses, e.Addr.String())
		}
	}
	return addresses
}

func counterexample(n int, at place, service *corev1.Service, slice *discoveryv1.EndpointSlice, ours, theirs []string) {
	spec, _ := json.Marshal(service.Spec)
	endpoints, _ := json.Marshal(slice.Endpoints)
	progress("topology: case %d: on node %q with labels %v\n  a Service with %s\n  and endpoints %s\n  kube-proxy uses %q\n  sidestep uses %q",
		n, at.node, at.labels, spec, endpoints, theirs, ours)
}

// names are those of nodes and zones alike.
var names = []string{"a", "b", "c"}

func randomPlace(rnd *rand.Rand) place {
	at := place{node: oneOf(rnd, names)}
	switch rnd.IntN(10) {
	case 0: // no labels
	case 1:
		at.labels = map[string]string{corev1.LabelHostname: at.node}
	default:
		at.labels = map[string]string{corev1.LabelHostname: at.node, corev1.LabelTopologyZone: oneOf(rnd, names)}
	}
	return at
}

// randomService has one port. What concerns traffic from outside the cluster
// must make no difference.
func randomService(rnd *rand.Rand) *corev1.Service {
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "quiz"},
		Spec: corev1.ServiceSpec{
			Type:       corev1.ServiceTypeClusterIP,
			ClusterIP:  "10.96.0.10",
			ClusterIPs: []string{"10.96.0.10"},
			IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol},
			Ports:      []corev1.ServicePort{{Name: portName, Port: 80, Protocol: corev1.ProtocolTCP}},
		},
	}
	switch rnd.IntN(6) {
	case 0, 1: // absent
	case 2, 3:
		s.Spec.InternalTrafficPolicy = new(corev1.ServiceInternalTrafficPolicyCluster)
	default:
		s.Spec.InternalTrafficPolicy = new(corev1.ServiceInternalTrafficPolicyLocal)
	}
	if percent(rnd, 30) {
		s.Spec.Type = corev1.ServiceTypeNodePort
		s.Spec.Ports[0].NodePort = 30080
		s.Spec.ExternalTrafficPolicy = oneOf(rnd, []corev1.ServiceExternalTrafficPolicy{
			corev1.ServiceExternalTrafficPolicyCluster, corev1.ServiceExternalTrafficPolicyLocal,
		})
	}
	return s
}

// randomSlice has up to seven endpoints with all combinations of conditions. In
// most slices all endpoints have hints, or none, or few are ready, because each
// by itself would hardly ever come out like that.
func randomSlice(rnd *rand.Rand) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: "quiz-1",
			Labels: map[string]string{discoveryv1.LabelServiceName: "quiz"},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: new(portName), Port: new(int32(8080)), Protocol: new(corev1.ProtocolTCP)}},
	}
	ready := oneOf(rnd, []int{0, 40, 90})
	hinted := oneOf(rnd, []int{0, 90, 100, 100})
	nodeHinted := oneOf(rnd, []int{0, 90, 100})
	for i := range rnd.IntN(8) {
		e := discoveryv1.Endpoint{
			Addresses: []string{fmt.Sprintf("10.0.0.%d", 1+i)}, // in the order of their texts
			Conditions: discoveryv1.EndpointConditions{
				Ready:       randomCondition(rnd, ready, true),
				Serving:     randomCondition(rnd, 70, true),
				Terminating: randomCondition(rnd, 40, false),
			},
			Hints: randomHints(rnd, hinted, nodeHinted),
		}
		if percent(rnd, 90) {
			e.NodeName = new(oneOf(rnd, names))
		}
		s.Endpoints = append(s.Endpoints, e)
	}
	return s
}

// randomCondition is true in so many cases of a hundred. Some of those that are
// what absent ones are taken for are absent.
func randomCondition(rnd *rand.Rand, isTrue int, absent bool) *bool {
	value := percent(rnd, isTrue)
	if value == absent && percent(rnd, 30) {
		return nil
	}
	return &value
}

// randomHints never have the name "", which the API server admits as a zone
// (it is a valid value of a label). kube-proxy on a node without a label for the
// zone takes such a hint for its own zone; a client that does not know its zone
// does not.
func randomHints(rnd *rand.Rand, zones, nodes int) *discoveryv1.EndpointHints {
	h := &discoveryv1.EndpointHints{}
	if percent(rnd, zones) {
		for range 1 + rnd.IntN(2) {
			h.ForZones = append(h.ForZones, discoveryv1.ForZone{Name: oneOf(rnd, names)})
		}
	}
	if percent(rnd, nodes) {
		for range 1 + rnd.IntN(2) {
			h.ForNodes = append(h.ForNodes, discoveryv1.ForNode{Name: oneOf(rnd, names)})
		}
	}
	if len(h.ForZones)+len(h.ForNodes) == 0 && percent(rnd, 50) {
		return nil
	}
	return h
}

func percent(rnd *rand.Rand, n int) bool { return rnd.IntN(100) < n }

func oneOf[T any](rnd *rand.Rand, from []T) T { return from[rnd.IntN(len(from))] }
