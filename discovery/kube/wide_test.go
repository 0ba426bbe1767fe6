package kube_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/kube"
	"github.com/sidestep-lb/sidestep/discovery/kube/kubetest"
)

// A town is many Services, s0, s1, … in one namespace, of which s7 has the
// endpoint 10.0.7.1, and those who watch them.
type town struct {
	*testing.T
	server *kubetest.Server
	source *kube.Source
	subs   []*discovery.Subscription
}

func newTown(t *testing.T, services int) *town {
	t.Helper()
	tn := &town{T: t, server: kubetest.Start()}
	t.Cleanup(tn.server.Close)
	for i := range services {
		tn.server.SetService(kubetest.ClusterIPService("kiada", fmt.Sprintf("s%d", i), kubetest.Ports{"grpc": 80}))
		tn.set(i, 1)
	}
	tn.through(tn.server.Client().Transport)
	return tn
}

// through makes requests go through a RoundTripper.
func (tn *town) through(rt http.RoundTripper) {
	tn.source = kube.NewForTest(kube.Config{Host: tn.server.URL(), Client: &http.Client{Transport: rt}, Namespace: "kiada"}, "/nowhere")
}

func (tn *town) set(service, pod int) {
	name := fmt.Sprintf("s%d", service)
	tn.server.SetEndpointSlice(kubetest.Slice("kiada", name, name+"-a", kubetest.Ports{"grpc": 8080},
		kubetest.Ready(fmt.Sprintf("10.0.%d.%d", service, pod), "pod")))
}

// watch goes on until so many Services are being watched, from s0 on.
func (tn *town) watch(services int) {
	tn.Helper()
	for i := len(tn.subs); i < services; i++ {
		tn.subs = append(tn.subs, watch(tn.T, tn.source, fmt.Sprintf("k8s:///s%d:80", i)))
	}
}

// await waits until all that are watched have this pod.
func (tn *town) await(pod int) {
	tn.Helper()
	for i, sub := range tn.subs {
		awaitEndpoints(tn.T, sub, fmt.Sprintf("10.0.%d.%d:8080", i, pod))
	}
}

// watchAtOnce is watch, but for those beyond the first 20 no list comes before all
// are there. It waits until all have their pods.
func (tn *town) watchAtOnce(services int) {
	tn.Helper()
	tn.watch(min(services, 20))
	tn.await(1)
	tn.server.Stall()
	tn.watch(services)
	for start := time.Now(); kube.Services(tn.source, "kiada") < services; time.Sleep(time.Millisecond) {
		if time.Since(start) > patience {
			tn.Fatal("not all are being read")
		}
	}
	tn.server.Resume()
	tn.await(1)
}

// readers counts the goroutines that list and watch.
func readers() int {
	stacks := make([]byte, 16<<20)
	return strings.Count(string(stacks[:runtime.Stack(stacks, true)]), "kubeapi.(*reader).run(")
}

// P16: what a process costs the API server, by how many Services it watches.
func TestMoreThanTwentyServicesOfANamespaceShareAWatch(t *testing.T) {
	for _, tc := range []struct{ services, lists, watches int }{
		{services: 1, lists: 1, watches: 1},
		{services: 20, lists: 20, watches: 20},
		{services: 21, lists: 21, watches: 1},
		{services: 100, lists: 21, watches: 1},
	} {
		t.Run(fmt.Sprintf("%d", tc.services), func(t *testing.T) {
			tn := newTown(t, tc.services)
			tn.watchAtOnce(tc.services)
			waitWatches(t, tn.server, 2*tc.watches)
			for _, resource := range []string{kubetest.EndpointSlices, kubetest.Services} {
				if lists, requests := lists(tn.server, resource), tn.server.Count(kubetest.Any, resource); lists != tc.lists || requests != lists {
					t.Errorf("%s: %d lists of %d requests, want %d", resource, lists, requests, tc.lists)
				}
			}
			for start := time.Now(); readers() != 2*tc.watches; time.Sleep(time.Millisecond) {
				if time.Since(start) > patience {
					t.Fatalf("%d goroutines, want %d", readers(), 2*tc.watches)
				}
			}
			for i := range tc.services {
				tn.set(i, 2)
			}
			tn.await(2)
		})
	}
}

func TestServicesThatComeLaterJoinTheSharedWatchWhenTheyAreTooMany(t *testing.T) {
	tn := newTown(t, 50)
	tn.watchAtOnce(21)
	waitWatches(t, tn.server, 2)
	tn.watch(41)
	tn.await(1)
	waitWatches(t, tn.server, 2+2*20)
	tn.watch(42)
	waitWatches(t, tn.server, 2)
	if got := lists(tn.server, kubetest.Any); got != 2*(21+21) {
		t.Errorf("%d lists, want one for each Service and two for all", got)
	}
	tn.watch(50)
	for i := range 50 {
		tn.set(i, 2)
	}
	tn.await(2)
	for _, sub := range tn.subs {
		sub.Close()
	}
	waitWatches(t, tn.server, 0)
}

func TestTheChangeToASharedWatchLosesNothing(t *testing.T) {
	const services = 30
	tn := newTown(t, services)
	tn.server.SlowStream(2000, time.Millisecond)
	var pods [services]int
	for i := range services {
		tn.watch(i + 1)
		if i < 20 {
			tn.await(1)
		}
	}
	empty := atomic.Int32{}
	for i := range services {
		sub := watch(t, tn.source, fmt.Sprintf("k8s:///s%d:80", i))
		go func() {
			for {
				v, err := sub.Next(t.Context())
				if err != nil {
					return
				}
				if v.Snapshot != nil && len(v.Snapshot.Endpoints) == 0 {
					empty.Add(1)
				}
			}
		}()
	}
	for round := range 300 {
		i := round * 7 % services
		pods[i] = 2 + round%100
		tn.set(i, pods[i])
	}
	for i, sub := range tn.subs {
		awaitEndpoints(t, sub, fmt.Sprintf("10.0.%d.%d:8080", i, pods[i]))
	}
	if n := empty.Load(); n > 0 {
		t.Errorf("%d views without endpoints", n)
	}
}

func TestTheSharedWatchSurvivesAnOutage(t *testing.T) {
	tn := newTown(t, 25)
	tn.watchAtOnce(25)
	waitWatches(t, tn.server, 2)
	tn.server.Outage()
	for _, sub := range tn.subs {
		await(t, sub, "a stale view", discovery.View.Stale)
	}
	for i := range 25 {
		tn.set(i, 2)
	}
	tn.server.Compact()
	if err := tn.server.Restore(); err != nil {
		t.Fatal(err)
	}
	tn.await(2)
	waitWatches(t, tn.server, 2)
}

func TestTheSharedWatchTellsEachServiceItsOwn(t *testing.T) {
	tn := newTown(t, 21)
	tn.watchAtOnce(21)
	waitWatches(t, tn.server, 2)
	move := func(to string) {
		tn.server.SetEndpointSlice(kubetest.Slice("kiada", to, "s3-a", kubetest.Ports{"grpc": 8080}, kubetest.Ready("10.0.3.1", "pod")))
	}
	move("s4")
	awaitEndpoints(t, tn.subs[3], "-")
	awaitEndpoints(t, tn.subs[4], "10.0.3.1:8080 10.0.4.1:8080")
	move("elsewhere")
	awaitEndpoints(t, tn.subs[4], "10.0.4.1:8080")
	tn.server.DeleteEndpointSlice("kiada", "s3-a")
	move("s3")
	awaitEndpoints(t, tn.subs[3], "10.0.3.1:8080")
	tn.server.DeleteEndpointSlice("kiada", "s3-a")
	awaitEndpoints(t, tn.subs[3], "-")

	local := kubetest.ClusterIPService("kiada", "s5", kubetest.Ports{"grpc": 80})
	local.Spec.InternalTrafficPolicy = new("Local")
	tn.server.SetService(local)
	await(t, tn.subs[5], "policy Local", func(v discovery.View) bool { return v.Snapshot.LocalOnly })
}

// refuses answers requests for all objects of a namespace with a status, while
// it is not 0, as a Role with resourceNames has it for 403.
type refuses struct {
	http.RoundTripper
	status, refused atomic.Int32
}

func (r *refuses) RoundTrip(req *http.Request) (*http.Response, error) {
	status := int(r.status.Load())
	if query := req.URL.Query(); status == 0 || query.Has("labelSelector") || query.Has("fieldSelector") {
		return r.RoundTripper.RoundTrip(req)
	}
	r.refused.Add(1)
	answer := httptest.NewRecorder()
	answer.WriteHeader(status)
	return answer.Result(), nil
}

func TestServicesAreWatchedOneByOneWhereTheSharedWatchIsForbidden(t *testing.T) {
	tn := newTown(t, 30)
	rt := &refuses{RoundTripper: tn.server.Client().Transport}
	rt.status.Store(http.StatusForbidden)
	tn.through(rt)
	tn.watch(30)
	tn.await(1)
	waitWatches(t, tn.server, 60)
	if got := rt.refused.Load(); got > 4 {
		t.Errorf("%d requests refused, want a streaming list and a plain one of either kind", got)
	}
}

func TestServicesAreWatchedOneByOneWhenTheSharedWatchBecomesForbidden(t *testing.T) {
	tn := newTown(t, 30)
	rt := &refuses{RoundTripper: tn.server.Client().Transport}
	tn.through(rt)
	tn.watchAtOnce(30)
	waitWatches(t, tn.server, 2)
	rt.status.Store(http.StatusForbidden)
	tn.server.EndWatches()
	waitWatches(t, tn.server, 60)
	for i := range 30 {
		tn.set(i, 2)
	}
	tn.await(2)
}

func TestServicesDoNotWaitForASharedWatchThatFails(t *testing.T) {
	tn := newTown(t, 30)
	rt := &refuses{RoundTripper: tn.server.Client().Transport}
	rt.status.Store(http.StatusInternalServerError)
	tn.through(rt)
	tn.watch(30)
	tn.await(1)
	waitWatches(t, tn.server, 60)
	rt.status.Store(0)
	waitWatches(t, tn.server, 2)
	for i := range 30 {
		tn.set(i, 2)
	}
	tn.await(2)
}

func TestServicesAreWatchedOneByOneWhereTheNamespaceIsTooLarge(t *testing.T) {
	tn := newTown(t, 25)
	for i := range kube.MaxWide {
		tn.server.SetEndpointSlice(kubetest.Slice("kiada", "other", fmt.Sprintf("other-%d", i), nil))
	}
	tn.watchAtOnce(25)
	waitWatches(t, tn.server, 25+1)
}
