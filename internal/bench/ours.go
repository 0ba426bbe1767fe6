package main

import (
	"context"
	"fmt"
	"net/url"
	"os"

	grpcresolver "google.golang.org/grpc/resolver"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/kube"
	"github.com/sidestep-lb/sidestep/resolver"
)

func (a api) source() *kube.Source {
	return kube.New(kube.Config{Host: a.Host, Client: a.http2(), Namespace: namespace})
}

func startDiscovery(a api, services []string, publish func(int)) error {
	source := a.source()
	for _, service := range services {
		target, err := discovery.ParseTarget("k8s:///" + service + ":" + portName)
		if err != nil {
			return err
		}
		go follow(discovery.Watch(source, target), publish)
	}
	return nil
}

func follow(sub *discovery.Subscription, publish func(int)) {
	for {
		view, err := sub.Next(context.Background())
		if err != nil {
			return
		}
		if view.Err != nil {
			warn(view.Err)
		}
		if view.Snapshot != nil {
			publish(view.Snapshot.Ready())
		}
	}
}

func startResolver(a api, services []string, publish func(int)) error {
	return build(resolver.NewBuilder("k8s", resolver.Config{Source: a.source()}), services, publish)
}

// build starts a resolver for each Service, as a gRPC channel does.
func build(b grpcresolver.Builder, services []string, publish func(int)) error {
	for _, service := range services {
		text := b.Scheme() + ":///" + service + "." + namespace + ":" + portName
		address, err := url.Parse(text)
		if err != nil {
			return err
		}
		_, err = b.Build(grpcresolver.Target{URL: *address}, &channel{publish: publish}, grpcresolver.BuildOptions{})
		if err != nil {
			return fmt.Errorf("%s: %w", text, err)
		}
	}
	return nil
}

func warn(err error) { fmt.Fprintln(os.Stderr, "bench:", err) }
