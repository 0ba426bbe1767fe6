package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"sync"

	"github.com/go-kratos/kratos/v2/registry"
	kratos "github.com/go-kratos/kratos/v2/transport/http"

	"github.com/sidestep-lb/sidestep/balancer/httpbalancer"
	"github.com/sidestep-lb/sidestep/discovery"
)

type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// serviceURL names the Service of all measurements.
const serviceURL = "http://quiz.kiada.svc/"

// A client is one that is measured.
type client struct {
	name string
	// open returns a client of the backends that are published.
	open func(p *publisher, dial dialFunc) (http.RoundTripper, error)
}

var clients = []client{
	{"sidestep", openSidestep},
	{"http.Transport", openPlain},
	{"Kratos", openKratos},
}

func clientNamed(name string) (client, error) {
	i := slices.IndexFunc(clients, func(c client) bool { return c.name == name })
	if i < 0 {
		return client{}, fmt.Errorf("there is no client %q", name)
	}
	return clients[i], nil
}

// A publisher tells clients of the backends.
type publisher struct {
	mu      sync.Mutex
	addrs   []netip.AddrPort    // guarded by mu
	view    *discovery.Snapshot // the same; guarded by mu
	nodes   []*registry.ServiceInstance
	changed chan struct{} // closed at the next change; guarded by mu
}

// A publication is a list of backends as each client wants it.
type publication struct {
	addrs []netip.AddrPort
	view  *discovery.Snapshot
	nodes []*registry.ServiceInstance
}

func newPublication(addrs []netip.AddrPort) publication {
	p := publication{addrs: addrs}
	endpoints := make([]discovery.Endpoint, len(addrs))
	for i, a := range addrs {
		endpoints[i] = discovery.Endpoint{Addr: a, Ready: true, Serving: true}
		p.nodes = append(p.nodes, &registry.ServiceInstance{ID: a.String(), Name: "quiz", Endpoints: []string{"http://" + a.String()}})
	}
	p.view = discovery.NewSnapshot(endpoints)
	return p
}

func newPublisher(first publication) *publisher {
	p := &publisher{changed: make(chan struct{})}
	p.set(first)
	return p
}

func (p *publisher) set(now publication) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.addrs, p.view, p.nodes = now.addrs, now.view, now.nodes
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *publisher) get() (publication, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return publication{p.addrs, p.view, p.nodes}, p.changed
}

// Watch implements discovery.Source.
func (p *publisher) Watch(ctx context.Context, _ discovery.Target, r discovery.Receiver) {
	for {
		now, changed := p.get()
		r.Update(now.view)
	wait:
		select {
		case <-changed:
		case <-r.Refresh():
			goto wait
		case <-ctx.Done():
			return
		}
	}
}

func openSidestep(p *publisher, dial dialFunc) (http.RoundTripper, error) {
	return httpbalancer.New(httpbalancer.Config{Source: p, Base: &http.Transport{DialContext: dial}}), nil
}

// openPlain knows one backend, the first.
func openPlain(p *publisher, dial dialFunc) (http.RoundTripper, error) {
	now, _ := p.get()
	first := now.addrs[0].String()
	return &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return dial(ctx, network, first)
	}}, nil
}

func openKratos(p *publisher, dial dialFunc) (http.RoundTripper, error) {
	c, err := kratos.NewClient(context.Background(),
		kratos.WithEndpoint("discovery:///quiz"),
		kratos.WithDiscovery(kratosRegistry{p}),
		kratos.WithTransport(&http.Transport{DialContext: dial}),
		kratos.WithSubset(0), // all of them
		kratos.WithBlock())
	return kratosClient{c}, err
}

type kratosClient struct{ *kratos.Client }

// RoundTrip implements http.RoundTripper. Kratos changes the request it is given.
func (c kratosClient) RoundTrip(req *http.Request) (*http.Response, error) {
	return c.Do(req.Clone(req.Context()))
}

type kratosRegistry struct{ *publisher }

func (r kratosRegistry) GetService(context.Context, string) ([]*registry.ServiceInstance, error) {
	now, _ := r.get()
	return now.nodes, nil
}

func (r kratosRegistry) Watch(ctx context.Context, _ string) (registry.Watcher, error) {
	changed := make(chan struct{})
	close(changed)
	return &kratosWatcher{ctx, r.publisher, changed}, nil
}

type kratosWatcher struct {
	ctx     context.Context
	p       *publisher
	changed <-chan struct{}
}

func (w *kratosWatcher) Next() (nodes []*registry.ServiceInstance, err error) {
	select {
	case <-w.changed:
	case <-w.ctx.Done():
		return nil, w.ctx.Err()
	}
	var now publication
	now, w.changed = w.p.get()
	return now.nodes, nil
}

func (w *kratosWatcher) Stop() error { return nil }

// addresses returns so many addresses that nobody serves.
func addresses(n int) []netip.AddrPort {
	addrs := make([]netip.AddrPort, n)
	for i := range addrs {
		addrs[i] = address(i)
	}
	return addrs
}

func address(number int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(number >> 16), byte(number >> 8), byte(number)}), 8080)
}

var errStatus = errors.New("the answer is none of 200")

// ask sends a request and reads the answer.
func ask(rt http.RoundTripper, req *http.Request) error {
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var buffer [64]byte
	for {
		if _, err := resp.Body.Read(buffer[:]); err != nil {
			break
		}
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%w but %s", errStatus, strconv.Itoa(resp.StatusCode))
	}
	return nil
}
