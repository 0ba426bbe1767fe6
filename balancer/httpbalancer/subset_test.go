package httpbalancer_test

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"testing"

	"github.com/sidestep-lb/sidestep/balancer/httpbalancer"
	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/selection"
	"github.com/sidestep-lb/sidestep/discovery/selection/subset"
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
func fleet(name string, n int) *discovery.Snapshot {
	all := make([]discovery.Endpoint, n)
	for i := range all {
		addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 80)
		all[i] = discovery.Endpoint{Addr: addr, Pod: fmt.Sprintf("%s-%d", name, i), Ready: true, Serving: true}
	}
	return discovery.NewSnapshot(all)
}

// A subsetClient notes which addresses it connects to. All of them lead to one
// server.
type subsetClient struct {
	*http.Client
	mu     sync.Mutex
	dialed map[string]bool // guarded by mu
}

// newSubsetClient returns the client in the given pod.
func newSubsetClient(t *testing.T, s discovery.Source, pod string, server *server) *subsetClient {
	t.Setenv("POD_NAME", pod)
	c := &subsetClient{}
	base := &http.Transport{
		DisableKeepAlives: true, // so that each request shows which backend was chosen
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c.mu.Lock()
			c.dialed[addr] = true
			c.mu.Unlock()
			return new(net.Dialer).DialContext(ctx, network, server.addr)
		},
	}
	c.Client = &http.Client{Transport: newTransport(t, httpbalancer.Config{Source: s, Base: base, Selection: selection.Config{SubsetSize: 20, SubsetPeers: "k8s:///shop"}})}
	return c
}

// subset returns the twenty backends of as many requests as that takes: new ones
// start slowly.
func (c *subsetClient) subset(t *testing.T) map[string]bool {
	dialed := map[string]bool{}
	c.mu.Lock()
	c.dialed = dialed
	c.mu.Unlock()
	eventually(t, "twenty backends have had requests", func() bool {
		get(t, c.Client, "http://quiz.kiada/")
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(dialed) >= 20
	})
	return dialed
}

func set(endpoints []discovery.Endpoint) map[string]bool {
	s := map[string]bool{}
	for i := range endpoints {
		s[endpoints[i].Addr.String()] = true
	}
	return s
}

func TestClientsThatKnowEachOtherShareOutThePods(t *testing.T) {
	server, quiz, shop := start(t, "quiz", nil), fleet("quiz", 100), fleet("shop", 5)
	s := &services{newSource(), newSource()}
	s.quiz.set(discovery.View{Snapshot: quiz})
	s.shop.set(discovery.View{Snapshot: shop})
	users := map[string]int{}
	for _, pod := range subset.Peers(shop.Endpoints) {
		client := newSubsetClient(t, s, pod, server)
		want := set(subset.Bounded(quiz.Endpoints, subset.Peers(shop.Endpoints), pod, 20))
		eventually(t, pod+" has its share", func() bool { return maps.Equal(client.subset(t), want) })
		for addr := range want {
			users[addr]++
		}
	}
	for addr, n := range users {
		if n > 2 {
			t.Errorf("%s has %d of 5 clients, want at most 2", addr, n)
		}
	}
	if n := s.shop.watches.Load(); n != 1 {
		t.Errorf("%d watches of the clients' Service, want one for all transports", n)
	}
}

func TestRequestsDoNotWaitForThePeers(t *testing.T) {
	server, quiz, shop := start(t, "quiz", nil), fleet("quiz", 100), fleet("shop", 5)
	s := &services{newSource(), newSource()}
	s.quiz.set(discovery.View{Snapshot: quiz})
	client := newSubsetClient(t, s, "shop-2", server)
	alone := set(subset.Rendezvous(quiz.Endpoints, "shop-2", 20))
	together := set(subset.Bounded(quiz.Endpoints, subset.Peers(shop.Endpoints), "shop-2", 20))
	if maps.Equal(alone, together) {
		t.Fatal("this test needs a client whose subset depends on its peers")
	}
	if got := client.subset(t); !maps.Equal(got, alone) {
		t.Errorf("with no peers yet %v, want %v", got, alone)
	}
	s.shop.fail(fmt.Errorf("list endpointslices in kiada: %w", discovery.ErrForbidden))
	if got := client.subset(t); !maps.Equal(got, alone) {
		t.Errorf("with no peers to be had %v, want %v", got, alone)
	}
	s.shop.set(discovery.View{Snapshot: shop})
	eventually(t, "the peers count", func() bool { return maps.Equal(client.subset(t), together) })
	s.shop.fail(fmt.Errorf("list endpointslices in kiada: %w", discovery.ErrForbidden))
	if got := client.subset(t); !maps.Equal(got, together) {
		t.Errorf("with the peers of before %v, want %v", got, together)
	}
}
