package kube_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/kube/kubetest"
)

// newOutside returns an API server with the Service quiz, reached from outside by
// node port 30080 and by a load balancer.
func newOutside(t *testing.T, policy string, ingress ...kubetest.LoadBalancerIngress) *kubetest.Server {
	t.Helper()
	server := kubetest.Start()
	t.Cleanup(server.Close)
	setOutside(server, policy, ingress...)
	return server
}

func setOutside(server *kubetest.Server, policy string, ingress ...kubetest.LoadBalancerIngress) {
	service := kubetest.LoadBalancerService("kiada", "quiz", kubetest.Ports{"grpc": 80}, ingress...)
	service.Spec.ExternalTrafficPolicy = policy
	server.SetService(service)
}

// awaitReady waits for a Snapshot that is up to date and in which just these
// endpoints are ready.
func awaitReady(t *testing.T, sub *discovery.Subscription, want string) discovery.View {
	t.Helper()
	return await(t, sub, "endpoints that are ready: "+want, func(v discovery.View) bool {
		return v.Err == nil && v.Snapshot != nil && ready(v.Snapshot) == want
	})
}

func ready(s *discovery.Snapshot) string {
	var only discovery.Snapshot
	for _, e := range s.Endpoints {
		if e.Ready {
			only.Endpoints = append(only.Endpoints, e)
		}
	}
	return text(&only)
}

func TestViaNodePortFollowsTheNodes(t *testing.T) {
	server := newOutside(t, "Cluster")
	zoned := kubetest.ReadyNode("node-a", "192.168.0.1")
	zoned.UID, zoned.Labels = "uid-a", map[string]string{"topology.kubernetes.io/zone": "zone-1"}
	server.SetNode(zoned)
	sub := watch(t, newSource(server), "k8s:///quiz:grpc?via=nodeport")
	view := awaitReady(t, sub, "192.168.0.1:30080")
	got := view.Snapshot.Endpoints[0]
	want := discovery.Endpoint{Addr: got.Addr, UID: "uid-a", Node: "node-a", Zone: "zone-1", Ready: true, Serving: true}
	if !got.Equal(&want) {
		t.Errorf("got %+v, want %+v", got, want)
	}

	server.SetNode(kubetest.ReadyNode("node-b", "192.168.0.2"))
	awaitReady(t, sub, "192.168.0.1:30080 192.168.0.2:30080")
	server.SetNode(zoned.NotReady())
	view = awaitReady(t, sub, "192.168.0.2:30080")
	if text(view.Snapshot) != "192.168.0.1:30080 192.168.0.2:30080" {
		t.Errorf("the node that is not ready is not told of: %s", text(view.Snapshot))
	}
	server.SetNode(zoned)
	awaitReady(t, sub, "192.168.0.1:30080 192.168.0.2:30080")
	server.DeleteNode("node-b")
	awaitEndpoints(t, sub, "192.168.0.1:30080")
}

func TestViaNodePortFollowsTheNodePort(t *testing.T) {
	server := newOutside(t, "Cluster")
	server.SetNode(kubetest.ReadyNode("node-a", "192.168.0.1"))
	source := newSource(server)
	byName, byNumber, only := watch(t, source, "k8s:///quiz:grpc?via=nodeport"), watch(t, source, "k8s:///quiz:80?via=nodeport"), watch(t, source, "k8s:///quiz?via=nodeport")
	for _, sub := range []*discovery.Subscription{byName, byNumber, only} {
		awaitEndpoints(t, sub, "192.168.0.1:30080")
	}
	service := kubetest.NodePortService("kiada", "quiz", kubetest.Ports{"grpc": 81, "http": 80})
	service.Spec.Ports[0].NodePort = 31000
	server.SetService(service)
	awaitEndpoints(t, byName, "192.168.0.1:31000")
	awaitEndpoints(t, byNumber, "192.168.0.1:30080")
	await(t, only, "the question which port", func(v discovery.View) bool { // the last view is kept for a moment
		return v.Snapshot != nil && errors.Is(v.Snapshot.Degraded, discovery.ErrPortNotFound)
	})
}

// As the service controller chooses the nodes of a load balancer.
func TestViaNodePortLeavesOutNodesThatTakeNothingFromOutside(t *testing.T) {
	server := newOutside(t, "Cluster")
	labelled := func(name, ip, value string) kubetest.Node {
		node := kubetest.ReadyNode(name, ip)
		node.Labels = map[string]string{"node.kubernetes.io/exclude-from-external-load-balancers": value}
		return node
	}
	server.SetNode(labelled("control-plane", "192.168.0.1", ""))
	sub := watch(t, newSource(server), "k8s:///quiz?via=nodeport")
	none := awaitEndpoints(t, sub, "-")
	if err := reason(none); !errors.Is(err, discovery.ErrNoEndpoints) || !strings.Contains(err.Error(), "exclude-from-external-load-balancers") {
		t.Errorf("reason: %v", err)
	}
	server.SetNode(labelled("node-b", "192.168.0.2", "false"))
	server.SetNode(labelled("node-c", "192.168.0.3", "true"))
	awaitEndpoints(t, sub, "192.168.0.2:30080")

	cordoned := kubetest.ReadyNode("node-d", "192.168.0.4")
	cordoned.Spec.Unschedulable = true
	server.SetNode(cordoned)
	awaitReady(t, sub, "192.168.0.2:30080 192.168.0.4:30080")
	doomed := cordoned
	doomed.Spec.Taints = []kubetest.Taint{{Key: "ToBeDeletedByClusterAutoscaler", Effect: "NoSchedule"}}
	server.SetNode(doomed)
	awaitReady(t, sub, "192.168.0.2:30080")
	server.SetNode(cordoned)
	awaitReady(t, sub, "192.168.0.2:30080 192.168.0.4:30080")
	cordoned.DeletionTimestamp = "2026-01-01T00:00:00Z"
	server.SetNode(cordoned)
	view := awaitReady(t, sub, "192.168.0.2:30080")
	if last := view.Snapshot.Endpoints[1]; !last.Serving || !last.Terminating {
		t.Errorf("the node being deleted is not terminating and serving: %+v", last)
	}
}

func TestViaNodePortPrefersAddressesForTheOutside(t *testing.T) {
	server := newOutside(t, "Cluster")
	server.SetNode(kubetest.ReadyNode("node-a", "fd00::1", "192.168.0.1"))
	server.SetNode(kubetest.ReadyNode("node-b", "127.0.0.1"))
	sub := watch(t, newSource(server), "k8s:///quiz?via=nodeport")
	awaitEndpoints(t, sub, "192.168.0.1:30080") // not what no node can have
	server.SetNode(kubetest.ReadyNode("node-b", "192.168.0.2").WithExternalIP("203.0.113.2"))
	awaitEndpoints(t, sub, "203.0.113.2:30080")

	ipv6 := kubetest.NodePortService("kiada", "quiz", kubetest.Ports{"grpc": 80})
	ipv6.Spec.IPFamilies = []string{"IPv6", "IPv4"}
	server.SetService(ipv6)
	server.DeleteNode("node-b")
	view := awaitEndpoints(t, sub, "[fd00::1]:30080")
	if other := view.Snapshot.Endpoints[0].AltAddr; other != netip.MustParseAddrPort("192.168.0.1:30080") {
		t.Errorf("the node's address in the other family is %v", other)
	}
	server.SetNode(kubetest.ReadyNode("node-a", "::1"))
	if err := reason(awaitEndpoints(t, sub, "-")); !errors.Is(err, discovery.ErrNoEndpoints) || !strings.Contains(err.Error(), "loopback") {
		t.Errorf("reason: %v", err)
	}
}

func TestViaNodePortStaysOnNodesWithPodsIfThePolicyIsLocal(t *testing.T) {
	server := newOutside(t, "Local")
	for name, ip := range map[string]string{"node-a": "192.168.0.1", "node-b": "192.168.0.2", "node-c": "192.168.0.3"} {
		server.SetNode(kubetest.ReadyNode(name, ip))
	}
	setSlice(server, "quiz-a",
		kubetest.Ready("10.0.0.1", "quiz-0").OnNode("node-a"), kubetest.NotReady("10.0.0.2", "quiz-1").OnNode("node-a"),
		kubetest.NotReady("10.0.0.3", "quiz-2").OnNode("node-b"))
	sub := watch(t, newSource(server), "k8s:///quiz?via=nodeport")
	awaitEndpoints(t, sub, "192.168.0.1:30080")

	setSlice(server, "quiz-b", kubetest.Ready("10.0.0.4", "quiz-3").OnNode("node-c"), kubetest.Terminating("10.0.0.5", "quiz-4").OnNode("node-b"))
	view := awaitReady(t, sub, "192.168.0.1:30080 192.168.0.3:30080")
	if b := view.Snapshot.Endpoints[1]; b.Node != "node-b" || !b.Terminating || !b.Serving {
		t.Errorf("the node whose pod terminates is %+v", b)
	}
	server.DeleteEndpointSlice("kiada", "quiz-a")
	server.DeleteEndpointSlice("kiada", "quiz-b")
	if err := reason(awaitEndpoints(t, sub, "-")); !errors.Is(err, discovery.ErrNoEndpoints) || !strings.Contains(err.Error(), `externalTrafficPolicy "Local"`) {
		t.Errorf("reason: %v", err)
	}
	setOutside(server, "Cluster")
	awaitReady(t, sub, "192.168.0.1:30080 192.168.0.2:30080 192.168.0.3:30080")
}

func TestViaLoadBalancerWaitsForItsAddress(t *testing.T) {
	server := newOutside(t, "Cluster")
	sub := watch(t, newSource(server), "k8s:///quiz:grpc?via=loadbalancer")
	if err := reason(awaitEndpoints(t, sub, "-")); !errors.Is(err, discovery.ErrNoEndpoints) || !strings.Contains(err.Error(), "no load balancer with an address yet") {
		t.Errorf("reason: %v", err)
	}
	setOutside(server, "Cluster", kubetest.LoadBalancerIngress{IP: "203.0.113.9"}, kubetest.LoadBalancerIngress{IP: "2001:db8::9"})
	awaitReady(t, sub, "203.0.113.9:80")
	setOutside(server, "Cluster", kubetest.LoadBalancerIngress{IP: "203.0.113.9"}, kubetest.LoadBalancerIngress{IP: "203.0.113.8"})
	awaitReady(t, sub, "203.0.113.8:80 203.0.113.9:80")
	setOutside(server, "Cluster", kubetest.LoadBalancerIngress{IP: "169.254.169.254"})
	if err := reason(awaitEndpoints(t, sub, "-")); !strings.Contains(err.Error(), "link-local") {
		t.Errorf("reason: %v", err)
	}
	if n := server.Count(kubetest.Any, kubetest.Nodes); n != 0 {
		t.Errorf("%d requests for nodes", n)
	}
}

func TestTheHostNameOfALoadBalancerIsLookedUpByTheFallback(t *testing.T) {
	server := newOutside(t, "Cluster", kubetest.LoadBalancerIngress{Hostname: "lb.example.com"})
	source := newSource(server)
	sub := watch(t, source, "k8s:///quiz:grpc?via=loadbalancer")
	if err := reason(awaitEndpoints(t, sub, "-")); !errors.Is(err, discovery.ErrNoEndpoints) || !strings.Contains(err.Error(), "host name alone, lb.example.com, port 80") {
		t.Errorf("reason: %v", err)
	}
	resolved := discovery.Watch(discovery.Fallback(source, standIn{}), parse(t, "k8s:///quiz:grpc?via=loadbalancer"))
	t.Cleanup(resolved.Close)
	awaitEndpoints(t, resolved, "203.0.113.7:80")
	setOutside(server, "Cluster", kubetest.LoadBalancerIngress{Hostname: "lb.example.com", IP: "203.0.113.8"})
	awaitEndpoints(t, resolved, "203.0.113.8:80")
	awaitEndpoints(t, sub, "203.0.113.8:80")
}

// A standIn is DNS that knows one name.
type standIn struct{}

func (standIn) Watch(ctx context.Context, target discovery.Target, r discovery.Receiver) {
	if target.Scheme == discovery.SchemeHeadless && strings.TrimSuffix(target.Name, ".") == "lb.example.com" {
		addr := netip.AddrPortFrom(netip.MustParseAddr("203.0.113.7"), target.Port.Number)
		r.Update(discovery.NewSnapshot([]discovery.Endpoint{{Addr: addr, Ready: true, Serving: true}}))
	}
	<-ctx.Done()
}

func TestViaKeepsTheLastViewThroughAnOutage(t *testing.T) {
	server := newOutside(t, "Cluster", kubetest.LoadBalancerIngress{IP: "203.0.113.9"})
	server.SetNode(kubetest.ReadyNode("node-a", "192.168.0.1"))
	source := newSource(server)
	for via, want := range map[string]struct{ before, after string }{
		"nodeport":     {"192.168.0.1:30080", "192.168.0.2:30080"},
		"loadbalancer": {"203.0.113.9:80", "203.0.113.8:80"},
	} {
		t.Run(via, func(t *testing.T) {
			setOutside(server, "Cluster", kubetest.LoadBalancerIngress{IP: "203.0.113.9"})
			sub := watch(t, source, "k8s:///quiz?via="+via)
			awaitReady(t, sub, want.before)
			server.Outage()
			view := await(t, sub, "an error", func(v discovery.View) bool { return v.Err != nil })
			if !view.Stale() || text(view.Snapshot) != want.before {
				t.Errorf("during the outage: %s", text(view.Snapshot))
			}
			server.DeleteNode("node-a")
			server.SetNode(kubetest.ReadyNode("node-b", "192.168.0.2"))
			setOutside(server, "Cluster", kubetest.LoadBalancerIngress{IP: "203.0.113.8"})
			if err := server.Restore(); err != nil {
				t.Fatal(err)
			}
			awaitReady(t, sub, want.after)
			server.DeleteNode("node-b")
			server.SetNode(kubetest.ReadyNode("node-a", "192.168.0.1"))
		})
	}
}

func TestErrorsOfTargetsFromOutsideAreDistinct(t *testing.T) {
	server := newOutside(t, "Cluster")
	server.SetNode(kubetest.ReadyNode("node-a", "192.168.0.1"))
	server.SetService(kubetest.ClusterIPService("kiada", "inner", kubetest.Ports{"grpc": 80}))
	server.SetService(kubetest.ExternalNameService("kiada", "alias", "example.com"))
	source := newSource(server)
	for target, want := range map[string]struct {
		is   error
		text string
	}{
		"quote?via=nodeport":     {discovery.ErrServiceNotFound, "namespace kiada has no Service quote"},
		"quote?via=loadbalancer": {discovery.ErrServiceNotFound, "namespace kiada has no Service quote"},
		"quiz:81?via=nodeport":   {discovery.ErrPortNotFound, "grpc (80)"},
		"inner?via=nodeport":     {discovery.ErrNoEndpoints, "the Service is of type ClusterIP"},
		"inner?via=loadbalancer": {discovery.ErrNoEndpoints, "the Service is of type ClusterIP"},
		"alias?via=nodeport":     {discovery.ErrNoEndpoints, "alias of example.com"},
	} {
		sub := watch(t, source, "k8s:///"+target)
		err := awaitEndpoints(t, sub, "-").Snapshot.Unusable(sub.Target())
		if !errors.Is(err, want.is) || !strings.Contains(err.Error(), want.text) {
			t.Errorf("%s: %v; want %v: %s", target, err, want.is, want.text)
		}
	}
}

func TestRefusalsFromOutsideNameTheRuleThatIsMissing(t *testing.T) {
	for _, c := range []struct{ resource, via, policy, want string }{
		{kubetest.Nodes, "nodeport", "Cluster", "kind: ClusterRole\n"},
		{kubetest.Services, "nodeport", "Cluster", "resources: [services]"},
		{kubetest.Services, "loadbalancer", "Cluster", "resources: [services]"},
		{kubetest.EndpointSlices, "nodeport", "Local", "resources: [endpointslices]"},
	} {
		server := newOutside(t, c.policy)
		server.SetNode(kubetest.ReadyNode("node-a", "192.168.0.1"))
		server.Forbid(kubetest.Any, c.resource)
		sub := watch(t, newSource(server), "k8s:///quiz?via="+c.via)
		_, err := sub.First(soon(t))
		if !errors.Is(err, discovery.ErrForbidden) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "quiz in namespace kiada") {
			t.Errorf("%s forbidden, via %s: %v", c.resource, c.via, err)
		}
		server.Allow(kubetest.Any, c.resource)
		if c.via == "nodeport" && c.policy == "Cluster" {
			awaitReady(t, sub, "192.168.0.1:30080")
		}
		sub.Close()
	}
	server := newOutside(t, "Cluster")
	server.SetNode(kubetest.ReadyNode("node-a", "192.168.0.1"))
	server.Forbid(kubetest.Any, kubetest.EndpointSlices)
	awaitReady(t, watch(t, newSource(server), "k8s:///quiz?via=nodeport"), "192.168.0.1:30080") // it takes no slices
}

func TestTargetsViaNodePortShareOneWatchOfTheNodes(t *testing.T) {
	server := newOutside(t, "Cluster")
	server.SetService(kubetest.NodePortService("kiada", "quote", kubetest.Ports{"grpc": 90}))
	server.SetNode(kubetest.ReadyNode("node-a", "192.168.0.1"))
	source := newSource(server)
	quiz, quote := watch(t, source, "k8s:///quiz?via=nodeport"), watch(t, source, "k8s:///quote?via=nodeport")
	awaitReady(t, quiz, "192.168.0.1:30080")
	awaitReady(t, quote, "192.168.0.1:30090")
	if lists, watches := lists(server, kubetest.Nodes), server.Count(kubetest.Watch, kubetest.Nodes); lists != 1 || watches != 1 {
		t.Errorf("%d lists and %d watches of the nodes", lists, watches)
	}
	quiz.Close()
	server.SetNode(kubetest.ReadyNode("node-b", "192.168.0.2"))
	awaitReady(t, quote, "192.168.0.1:30090 192.168.0.2:30090")
	quote.Close()
	waitWatches(t, server, 0)

	awaitReady(t, watch(t, source, "k8s:///quiz?via=nodeport"), "192.168.0.1:30080 192.168.0.2:30080")
}

func TestWhatAKubeletWritesEveryFewMinutesPublishesNothing(t *testing.T) {
	server := newOutside(t, "Cluster")
	node := kubetest.ReadyNode("node-a", "192.168.0.1")
	server.SetNode(node)
	sub := watch(t, newSource(server), "k8s:///quiz?via=nodeport")
	first := awaitReady(t, sub, "192.168.0.1:30080").Snapshot
	for range 5 {
		node.Annotations = map[string]string{"heartbeat": "again"}
		server.SetNode(node)
	}
	server.SetNode(kubetest.ReadyNode("node-b", "192.168.0.2"))
	views := 0
	await(t, sub, "the new node", func(v discovery.View) bool {
		if v.Snapshot != first {
			views++
		}
		return text(v.Snapshot) == "192.168.0.1:30080 192.168.0.2:30080"
	})
	if views != 1 {
		t.Errorf("%d views of one change", views)
	}
}
