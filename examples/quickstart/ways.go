package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/grpcbalancer"
	"github.com/sidestep-lb/sidestep/balancer/httpbalancer"
	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/dns"
	"github.com/sidestep-lb/sidestep/discovery/kube"
	"github.com/sidestep-lb/sidestep/examples/quiz"
	"github.com/sidestep-lb/sidestep/resolver"
)

// clients are the ways to reach the Service, side by side.
type clients struct {
	ways    []*way
	closers []func()
}

// In a pod, none of the sources below would be needed: the SDK finds the API
// server and DNS by itself. Here they are on loopback, and so are the pods.
func newClients(c *cluster) (*clients, error) {
	fromAPI := kube.New(kube.Config{Host: c.api.URL(), Client: c.api.Client(), AllowLocalAddresses: true})
	fromDNS := dns.New(dns.Config{Servers: []string{c.dns.Addr()}, Namespace: namespace, Domain: "cluster.local", AllowLocalAddresses: true})

	all := &clients{}
	config := balancer.Config{Policy: balancer.RoundRobin}
	dial := func(source discovery.Source, scheme string) []grpc.DialOption {
		return append(grpcbalancer.DialOptions(config),
			grpc.WithResolvers(resolver.NewBuilder(scheme, resolver.Config{Source: source})))
	}
	err := all.grpc("sidestep, gRPC, k8s", true, "k8s:///quiz.kiada:grpc", dial(fromAPI, "k8s")...)
	all.http("sidestep, HTTP, k8s", true, httpbalancer.New(httpbalancer.Config{Balancer: config, Source: fromAPI}))
	if err == nil {
		err = all.grpc("sidestep, gRPC, headless", true, "headless:///quiz-pods.kiada:grpc", dial(fromDNS, "headless")...)
	}
	all.http("sidestep, HTTP, headless", true, httpbalancer.New(httpbalancer.Config{
		Balancer: config,
		Source:   fromDNS,
		Target: func(*url.URL) (discovery.Target, bool) {
			t, err := discovery.ParseTarget("headless:///quiz-pods.kiada:http")
			return t, err == nil
		},
	}))
	if err == nil && severalAddresses { // plain DNS has one port for all pods, so each needs an address
		err = all.grpc("gRPC dns + round_robin", false, fmt.Sprintf("dns://%s/%s:%d", c.dns.Addr(), dnsName, c.ports.grpc),
			grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"round_robin": {}}]}`))
	}
	if err != nil {
		all.close()
		return nil, err
	}
	plain := http.DefaultTransport.(*http.Transport).Clone()
	plain.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, c.vip.addr()) // what the Service's name resolves to
	}
	all.http("http.Client on a ClusterIP", false, plain)
	return all, nil
}

func (all *clients) grpc(name string, ours bool, target string, options ...grpc.DialOption) error {
	conn, err := grpc.NewClient(target, append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	all.closers = append(all.closers, func() { _ = conn.Close() })
	all.ways = append(all.ways, &way{name: name, ours: ours, ask: func(ctx context.Context) (string, error) {
		answer, err := quiz.Ask(ctx, conn)
		return answer.Pod, err
	}})
	return nil
}

func (all *clients) http(name string, ours bool, transport http.RoundTripper) {
	client := &http.Client{Transport: transport}
	all.closers = append(all.closers, client.CloseIdleConnections)
	if closer, ok := transport.(io.Closer); ok {
		all.closers = append(all.closers, func() { _ = closer.Close() })
	}
	all.ways = append(all.ways, &way{name: name, ours: ours, ask: func(ctx context.Context) (string, error) {
		return get(ctx, client)
	}})
}

func get(ctx context.Context, client *http.Client) (pod string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://quiz.kiada/questions", nil)
	if err != nil {
		return "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("status %s", response.Status)
	}
	var answer quiz.Answer
	err = json.NewDecoder(response.Body).Decode(&answer)
	return answer.Pod, err
}

func (all *clients) close() {
	for _, c := range all.closers {
		c()
	}
}
