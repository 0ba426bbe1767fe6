package main

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/sidestep-lb/sidestep/discovery/kube/kubetest"
	"github.com/sidestep-lb/sidestep/internal/dnstest"
)

const (
	namespace   = "kiada"
	service     = "quiz"                              // with a ClusterIP
	dnsName     = "quiz-pods.kiada.svc.cluster.local" // headless
	dnsTTL      = 5 * time.Second                     // CoreDNS's default
	startupTime = 300 * time.Millisecond
	detectTime  = 3 * time.Second // until readiness probes show that a pod is dead
)

// A cluster is as much of Kubernetes as a client sees of it: pods, an API
// server with their EndpointSlices, DNS and a ClusterIP.
type cluster struct {
	api *kubetest.Server
	dns *dnstest.Server
	vip *clusterIP

	ports ports // of each pod, where pods have several addresses; set at the start and read-only

	background sync.WaitGroup // pods that stop, deaths that are noticed

	mu      sync.Mutex
	pods    []*pod   // guarded by mu
	started int      // how many pods ever started; guarded by mu
	slices  []string // the names of the EndpointSlices there are; guarded by mu
	deaths  []death  // guarded by mu
	frozen  bool     // the API server is down: nobody learns anything; guarded by mu
}

// severalAddresses says that all of 127.0.0.0/8 is at hand, as on Linux, so that
// pods can have one port and an address each. Elsewhere they share the address,
// and each has ports of its own.
const severalAddresses = runtime.GOOS == "linux"

// ports are the numbers that pods listen on.
type ports struct{ grpc, http uint16 }

// freePorts returns two ports that nobody listens on.
func freePorts() (ports, error) {
	one, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return ports{}, fmt.Errorf("look for a free port: %w", err)
	}
	defer func() { _ = one.Close() }() // not before both are found
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return ports{}, fmt.Errorf("look for a free port: %w", err)
	}
	defer func() { _ = other.Close() }()
	port := func(l net.Listener) uint16 { return l.Addr().(*net.TCPAddr).AddrPort().Port() }
	return ports{grpc: port(one), http: port(other)}, nil
}

func startCluster() (_ *cluster, err error) {
	c := &cluster{api: kubetest.Start()}
	if c.dns, err = dnstest.Start(); err != nil {
		c.close()
		return nil, fmt.Errorf("start DNS server: %w", err)
	}
	if c.vip, err = startClusterIP(c.readyHTTP); err != nil {
		c.close()
		return nil, fmt.Errorf("start ClusterIP: %w", err)
	}
	if severalAddresses {
		if c.ports, err = freePorts(); err != nil {
			c.close()
			return nil, err
		}
	}
	c.api.SetService(kubetest.ClusterIPService(namespace, service, kubetest.Ports{"grpc": 9090, "http": 80}))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.publish()
	return c, nil
}

func (c *cluster) close() {
	c.background.Wait()
	if c.vip != nil {
		c.vip.close()
	}
	for _, p := range c.pods {
		if p.state != dead && p.state != gone {
			p.die()
		}
	}
	if c.dns != nil {
		c.dns.Close()
	}
	c.api.Close()
}

// scaleUp starts n pods and returns when they are ready.
func (c *cluster) scaleUp(ctx context.Context, n int) error {
	var fresh []*pod
	c.mu.Lock()
	for range n {
		p, err := c.startPod()
		if err != nil {
			c.mu.Unlock()
			return err
		}
		fresh = append(fresh, p)
	}
	c.publish()
	c.mu.Unlock()
	for _, p := range fresh {
		if err := sleep(ctx, startupTime); err != nil {
			return err
		}
		c.set(p, ready)
	}
	return nil
}

// restart replaces every pod by a new one, as a Deployment with maxSurge 1 and
// maxUnavailable 0 does. No pod waits before it stops.
func (c *cluster) restart(ctx context.Context) error {
	for _, old := range c.inState(ready) {
		if err := c.scaleUp(ctx, 1); err != nil {
			return err
		}
		c.set(old, terminating)
		c.background.Go(func() {
			old.stop()
			c.remove(old)
		})
	}
	return nil
}

// kill lets a ready pod die. The control plane takes its time to notice.
func (c *cluster) kill(ctx context.Context) {
	victim := c.inState(ready)[0]
	from := time.Now()
	victim.die()
	c.mu.Lock()
	c.deaths = append(c.deaths, death{from, time.Now()})
	victim.state = dead
	c.mu.Unlock()
	c.background.Go(func() {
		_ = sleep(ctx, detectTime)
		c.set(victim, gone)
	})
}

// apiServerDown and apiServerUp begin and end an outage of the control plane.
// DNS goes on with what it knew, as CoreDNS does.
func (c *cluster) apiServerDown() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.frozen = true
	c.api.Outage()
}

func (c *cluster) apiServerUp() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.api.Restore(); err != nil {
		return fmt.Errorf("restore the API server: %w", err)
	}
	c.frozen = false
	c.publish()
	return nil
}

// startPod is called with mu held.
func (c *cluster) startPod() (*pod, error) {
	c.started++
	ip := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	if severalAddresses {
		ip = netip.AddrFrom4([4]byte{127, 0, 0, byte(10 + c.started)})
	}
	p, err := startPod(fmt.Sprintf("quiz-%d", c.started), netip.AddrPortFrom(ip, c.ports.grpc), netip.AddrPortFrom(ip, c.ports.http))
	if err != nil {
		return nil, err
	}
	c.pods = append(c.pods, p)
	return p, nil
}

func (c *cluster) set(p *pod, state podState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p.state = state
	c.publish()
}

func (c *cluster) remove(p *pod) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pods = slices.DeleteFunc(c.pods, func(o *pod) bool { return o == p })
	c.publish()
}

func (c *cluster) inState(state podState) []*pod {
	c.mu.Lock()
	defer c.mu.Unlock()
	var some []*pod
	for _, p := range c.pods {
		if p.state == state {
			some = append(some, p)
		}
	}
	return some
}

// readyHTTP returns what kube-proxy would program.
func (c *cluster) readyHTTP() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var addrs []string
	for _, p := range c.pods {
		if p.state == ready || p.state == dead {
			addrs = append(addrs, p.http.String())
		}
	}
	return addrs
}

// publish does the work of the EndpointSlice controller and of CoreDNS. It is
// called with mu held.
func (c *cluster) publish() {
	if c.frozen {
		return
	}
	bySlice := map[string]kubetest.EndpointSlice{}
	var a []netip.Addr
	var grpcSRV, httpSRV []dnstest.SRV
	for _, p := range c.pods {
		// As the real controller does: a slice for each list of port numbers.
		name := fmt.Sprintf("quiz-%d-%d", p.grpc.Port(), p.http.Port())
		slice, ok := bySlice[name]
		if !ok {
			slice = kubetest.Slice(namespace, service, name, kubetest.Ports{"grpc": int32(p.grpc.Port()), "http": int32(p.http.Port())})
		}
		ip := p.http.Addr()
		switch p.state {
		case ready, dead:
			slice.Endpoints = append(slice.Endpoints, kubetest.Ready(ip.String(), p.name))
			a = append(a, ip)
			grpcSRV = append(grpcSRV, dnstest.SRV{Target: p.name + "." + dnsName, Port: p.grpc.Port()})
			httpSRV = append(httpSRV, dnstest.SRV{Target: p.name + "." + dnsName, Port: p.http.Port()})
			c.dns.SetA(p.name+"."+dnsName, dnsTTL, ip)
		case terminating:
			slice.Endpoints = append(slice.Endpoints, kubetest.Terminating(ip.String(), p.name))
		default:
			slice.Endpoints = append(slice.Endpoints, kubetest.NotReady(ip.String(), p.name))
		}
		bySlice[name] = slice
	}
	for _, name := range c.slices {
		if _, ok := bySlice[name]; !ok {
			c.api.DeleteEndpointSlice(namespace, name)
		}
	}
	c.slices = slices.Sorted(maps.Keys(bySlice))
	for _, slice := range bySlice {
		c.api.SetEndpointSlice(slice)
	}
	c.dns.SetA(dnsName, dnsTTL, a...)
	c.dns.SetSRV("_grpc._tcp."+dnsName, dnsTTL, grpcSRV...)
	c.dns.SetSRV("_http._tcp."+dnsName, dnsTTL, httpSRV...)
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
