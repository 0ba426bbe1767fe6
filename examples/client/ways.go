package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"

	"google.golang.org/grpc"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/grpcbalancer"
	"github.com/sidestep-lb/sidestep/balancer/httpbalancer"
	"github.com/sidestep-lb/sidestep/discovery/dns"
	"github.com/sidestep-lb/sidestep/discovery/kube"
	"github.com/sidestep-lb/sidestep/examples/client/load"
	"github.com/sidestep-lb/sidestep/resolver"
)

// options say which way requests go.
type options struct {
	target, protocol, via, policy string
	method, ca                    string // of HTTP
}

func (o options) way() (*load.Way, error) {
	config := balancer.Config{Policy: o.policy}
	if err := config.Validate(); err != nil {
		return nil, err
	}
	if o.protocol == "grpc" {
		return o.grpc(config)
	}
	base, err := o.transport()
	if err != nil {
		return nil, err
	}
	return o.http(config, base)
}

func (o options) grpc(config balancer.Config) (*load.Way, error) {
	switch o.via {
	case "k8s", "headless", "static":
		return load.GRPC(o.via+":///"+o.target, grpcbalancer.DialOptions(config)...)
	case "api":
		return load.GRPC("k8s:///"+o.target, append(grpcbalancer.DialOptions(config),
			grpc.WithResolvers(resolver.NewBuilder("k8s", resolver.Config{Source: kube.InCluster()})))...)
	case "dns":
		return load.GRPC("dns:///"+o.target, grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"round_robin":{}}]}`))
	case "clusterip":
		return load.GRPC("passthrough:///" + o.target)
	}
	return nil, fmt.Errorf("-via %q: no such way for gRPC; there are k8s, api, headless, static, dns and clusterip", o.via)
}

func (o options) http(config balancer.Config, base *http.Transport) (*load.Way, error) {
	ours := httpbalancer.Config{Balancer: config}
	switch o.via {
	case "k8s":
	case "api":
		ours.Source = kube.InCluster()
	case "headless":
		ours.Source = dns.System()
	case "clusterip":
		return load.HTTP(base, o.method, o.target), nil
	default:
		return nil, fmt.Errorf("-via %q: no such way for HTTP; there are k8s, api, headless and clusterip", o.via)
	}
	base.DialContext = nil // sidestep's own knows that pods are near
	ours.Base = base
	transport, err := httpbalancer.NewTransport(ours)
	if err != nil {
		return nil, err
	}
	way := load.HTTP(transport, o.method, o.target)
	way.Close = func() { transport.Close() }
	return way, nil
}

// transport returns http.DefaultTransport for the protocol.
func (o options) transport() (*http.Transport, error) {
	t := http.DefaultTransport.(*http.Transport).Clone()
	switch o.protocol {
	case "http":
	case "h2c":
		t.Protocols = new(http.Protocols)
		t.Protocols.SetUnencryptedHTTP2(true)
	case "https":
		if o.ca == "" {
			return t, nil
		}
		certificates, err := os.ReadFile(o.ca)
		if err != nil {
			return nil, fmt.Errorf("-ca: %w", err)
		}
		t.TLSClientConfig = &tls.Config{RootCAs: x509.NewCertPool()}
		if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(certificates) {
			return nil, fmt.Errorf("-ca: %s holds no certificate", o.ca)
		}
	default:
		return nil, fmt.Errorf("-protocol %q: unknown; there are grpc, http, h2c and https", o.protocol)
	}
	return t, nil
}
