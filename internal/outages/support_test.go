package outages

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"

	"github.com/sidestep-lb/sidestep/balancer/grpcbalancer"
	"github.com/sidestep-lb/sidestep/balancer/httpbalancer"
	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/dns"
	"github.com/sidestep-lb/sidestep/discovery/kube"
	"github.com/sidestep-lb/sidestep/discovery/kube/kubetest"
	"github.com/sidestep-lb/sidestep/internal/dnstest"
	"github.com/sidestep-lb/sidestep/resolver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// soon is long enough for whatever has to happen at all.
const soon = 30 * time.Second

// A cluster is an API server, DNS, pods that all listen on one port, and clients of
// them.
type cluster struct {
	t    *testing.T
	api  *kubetest.Server
	dns  *dnstest.Server
	port uint16
	pods map[string]*pod

	http *httpbalancer.Transport
	grpc func(service string) *grpc.ClientConn
}

// A pod answers with its address, in HTTP or in gRPC.
type pod struct{ stop func() }

func newCluster(t *testing.T, protocol string) *cluster {
	t.Helper()
	return newClusterAt(t, protocol, (*kubetest.Server).URL)
}

// newClusterAt does the same with the address of the API server as its clients know
// it; empty is that in the environment of a pod.
func newClusterAt(t *testing.T, protocol string, host func(*kubetest.Server) string) *cluster {
	t.Helper()
	names, err := dnstest.Start()
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, api: kubetest.Start(), dns: names, pods: make(map[string]*pod)}
	t.Cleanup(c.api.Close)
	t.Cleanup(c.dns.Close)
	for _, addr := range []string{old, fresh} {
		c.start(addr, protocol)
	}
	source := discovery.Fallback(
		kube.New(kube.Config{Host: host(c.api), Client: c.api.Client(), AllowLocalAddresses: true}),
		dns.New(dns.Config{Servers: []string{c.dns.Addr()}, Domain: "cluster.local", AllowLocalAddresses: true}))
	c.http = httpbalancer.New(httpbalancer.Config{Source: source})
	t.Cleanup(func() { c.http.Close() })
	conns := make(map[string]*grpc.ClientConn)
	c.grpc = func(service string) *grpc.ClientConn {
		if conns[service] == nil {
			conn, err := grpc.NewClient(fmt.Sprintf("k8s:///%s.kiada:%d", service, c.port),
				append(grpcbalancer.Config{}.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()),
					grpc.WithResolvers(resolver.NewBuilder("k8s", resolver.Config{Source: source})))...)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			conns[service] = conn
		}
		return conns[service]
	}
	return c
}

const (
	old   = "127.0.7.1"
	fresh = "127.0.7.2"
)

// start starts a pod. All have the port of the first one.
func (c *cluster) start(addr, protocol string) {
	c.t.Helper()
	listener, err := net.Listen("tcp", net.JoinHostPort(addr, strconv.Itoa(int(c.port))))
	if err != nil {
		c.t.Skip(err) // not all systems have all of 127.0.0.0/8
	}
	c.port = uint16(listener.Addr().(*net.TCPAddr).Port)
	ended := make(chan struct{})
	var serve func(net.Listener) error
	var stop func()
	if protocol == "grpc" {
		s := grpc.NewServer()
		healthpb.RegisterHealthServer(s, health.NewServer())
		serve, stop = s.Serve, s.Stop
	} else {
		s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, addr) })}
		serve, stop = s.Serve, func() { s.Close() }
	}
	go func() {
		defer close(ended)
		_ = serve(listener)
	}()
	p := &pod{stop: func() { stop(); <-ended }}
	c.t.Cleanup(p.stop)
	c.pods[addr] = p
}

// serve makes the pod at addr the only one of a Service, for the API server.
func (c *cluster) serve(service, addr string) {
	ports := kubetest.Ports{"main": int32(c.port)}
	c.api.SetService(kubetest.HeadlessService("kiada", service, ports))
	c.api.SetEndpointSlice(kubetest.Slice("kiada", service, service+"-1", ports, kubetest.Ready(addr, service+"-0")))
}

// name makes DNS name the pod at addr.
func (c *cluster) name(service, addr string) {
	c.dns.SetA(service+".kiada.svc.cluster.local", time.Second, netip.MustParseAddr(addr))
}

// ask makes a request to a Service and returns the pod that answered.
func (c *cluster) ask(ctx context.Context, protocol, service string, options ...grpc.CallOption) (string, error) {
	if protocol == "grpc" {
		var from peer.Peer
		_, err := healthpb.NewHealthClient(c.grpc(service)).Check(ctx, nil, append(options, grpc.Peer(&from))...)
		if err != nil {
			return "", err
		}
		host, _, err := net.SplitHostPort(from.Addr.String())
		return host, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s.kiada.svc:%d/", service, c.port), nil)
	if err != nil {
		return "", err
	}
	resp, err := (&http.Client{Transport: c.http}).Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}

// must asks, with time enough, and fails unless the pod at addr answers.
func (c *cluster) must(protocol, service, addr string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), soon)
	defer cancel()
	if from, err := c.ask(ctx, protocol, service); err != nil || from != addr {
		c.t.Fatalf("%s is answered by %q: %v; want %s", service, from, err, addr)
	}
}

// until asks until the pod at addr answers, and returns how long that took.
func (c *cluster) until(protocol, service, addr string) time.Duration {
	c.t.Helper()
	start := time.Now()
	last := errors.New("not asked")
	for time.Since(start) < soon {
		ctx, cancel := context.WithTimeout(c.t.Context(), 3*time.Second)
		var from string
		from, last = c.ask(ctx, protocol, service)
		cancel()
		if from == addr {
			return time.Since(start)
		}
		time.Sleep(50 * time.Millisecond) //nolint:forbidigo // the pause of a polling loop
	}
	c.t.Fatalf("%s is not answered by %s: %v", service, addr, last)
	return 0
}
