package resolver_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	grpcresolver "google.golang.org/grpc/resolver"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/selection"
	"github.com/sidestep-lb/sidestep/discovery/selection/subset"
	"github.com/sidestep-lb/sidestep/discovery/topology"
	"github.com/sidestep-lb/sidestep/resolver"
)

// services is a source that has one of its own for each Service.
type services struct{ quiz, shop *source }

func (s *services) Watch(ctx context.Context, target discovery.Target, r discovery.Receiver) {
	if target.Service == "quiz" {
		s.quiz.Watch(ctx, target, r)
	} else {
		s.shop.Watch(ctx, target, r)
	}
}

// fleet returns that many endpoints, whose pods are called NAME-0 and so on.
func fleet(name string, n int) []discovery.Endpoint {
	all := make([]discovery.Endpoint, n)
	for i := range all {
		all[i] = ready(fmt.Sprintf("10.0.0.%d:80", i+1))
		all[i].Pod = fmt.Sprintf("%s-%d", name, i)
	}
	return discovery.NewSnapshot(all).Endpoints
}

func subsetOf20(s *services) resolver.Config {
	return resolver.Config{Source: s, Selection: selection.Config{SubsetSize: 20, SubsetPeers: "k8s:///shop"}}
}

func addressesOf(all []discovery.Endpoint) []string {
	list := []string{}
	for i := range all {
		list = append(list, all[i].Addr.String())
	}
	return list
}

func TestClientsThatKnowEachOtherShareOutTheEndpoints(t *testing.T) {
	servers, clients := fleet("quiz", 100), fleet("shop", 5)
	s := &services{newSource(servers...), newSource(clients...)}
	users := map[string]int{}
	for i := range clients {
		t.Setenv("POD_NAME", clients[i].Pod)
		want := addressesOf(subset.Bounded(servers, subset.Peers(clients), clients[i].Pod, 20))
		cc := newChannel()
		build(t, cc, quiz, subsetOf20(s))
		got := addresses(cc.state(t))
		if !slices.Equal(got, want) { // it had its first endpoints before it knew its peers
			got = addresses(cc.state(t))
		}
		for _, addr := range got {
			users[addr]++
		}
		if len(got) != 20 {
			t.Errorf("%s has %d endpoints, want 20", clients[i].Pod, len(got))
		}
	}
	for addr, n := range users {
		if n > 2 {
			t.Errorf("%s has %d of 5 clients, want at most 2", addr, n)
		}
	}
	if s.shop.runs != 1 {
		t.Errorf("%d watches of the clients' Service, want one for all channels", s.shop.runs)
	}
}

func TestEndpointsDoNotWaitForThePeers(t *testing.T) {
	servers, clients := fleet("quiz", 100), fleet("shop", 5)
	s := &services{newSource(servers...), newSource()}
	t.Setenv("POD_NAME", "shop-2")
	alone := addressesOf(subset.Rendezvous(servers, "shop-2", 20))
	cc := newChannel()
	build(t, cc, quiz, subsetOf20(s))
	if got := addresses(cc.state(t)); !slices.Equal(got, alone) {
		t.Errorf("with no peers yet %v, want %v", got, alone)
	}
	s.shop.fail(fmt.Errorf("list endpointslices in kiada: %w", discovery.ErrForbidden))
	cc.quiet(t)
	s.shop.set(clients...)
	together := addressesOf(subset.Bounded(servers, subset.Peers(clients), "shop-2", 20))
	if slices.Equal(alone, together) {
		t.Fatal("this test needs a client whose subset depends on its peers")
	}
	if got := addresses(cc.state(t)); !slices.Equal(got, together) {
		t.Errorf("with peers %v, want %v", got, together)
	}
	s.shop.fail(errOutage)
	s.quiz.fail(errOutage)
	cc.quiet(t)
}

func TestMalformedPeersAreAnErrorThatNamesTheField(t *testing.T) {
	config := resolver.Config{Source: newSource(), Selection: selection.Config{SubsetSize: 20, SubsetPeers: "shop"}}
	_, err := resolver.NewBuilder("k8s", config).Build(target(t, quiz), newChannel(), grpcresolver.BuildOptions{})
	var malformed *discovery.TargetError
	if !errors.As(err, &malformed) || !strings.Contains(err.Error(), "SubsetPeers") {
		t.Errorf("the error is %v, want one of the target that names SubsetPeers", err)
	}
}

func TestPeersAreNotWatchedWhereThereIsNoSubset(t *testing.T) {
	s := &services{newSource(fleet("quiz", 100)...), newSource()}
	cc := newChannel()
	build(t, cc, quiz, resolver.Config{Source: s, Selection: selection.Config{SubsetPeers: "k8s:///shop"}})
	if got := addresses(cc.state(t)); len(got) != 100 {
		t.Errorf("%d endpoints, want all", len(got))
	}
	if n := len(discovery.Statuses()); n != 1 {
		t.Errorf("%d watches, want that of the target", n)
	}
}

func TestSpillOverHandsOnTheOtherZonesAsFurtherLevels(t *testing.T) {
	all := fleet("quiz", 4)
	for i := range all {
		all[i].Zone = []string{"a", "b"}[i%2]
	}
	for spill, want := range map[bool]string{false: "0000", true: "0101"} {
		cc := newChannel()
		build(t, cc, quiz, resolver.Config{Source: newSource(all...), Selection: selection.Config{Locality: topology.Locality{Zone: "a"}, SpillOver: spill}})
		priorities := map[string]uint8{}
		for _, e := range cc.state(t).Endpoints {
			known, _ := resolver.EndpointOf(e)
			priorities[known.Pod] = known.Priority
		}
		got := ""
		for i := range all {
			got += fmt.Sprint(priorities[all[i].Pod])
		}
		if got != want || len(priorities) != len(all) {
			t.Errorf("spill over %t: the levels of %d endpoints are %s, want %s", spill, len(priorities), got, want)
		}
	}
}
