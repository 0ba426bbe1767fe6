package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/grpcbalancer"
	"github.com/sidestep-lb/sidestep/balancer/httpbalancer"
	"github.com/sidestep-lb/sidestep/discovery/dns"
	"github.com/sidestep-lb/sidestep/discovery/kube"
	"github.com/sidestep-lb/sidestep/examples/quiz"
	"github.com/sidestep-lb/sidestep/resolver"
)

// dial returns what sends requests to target by the given way, and what ends it.
func dial(protocol, via, target, policy string) (ask, func(), error) {
	config := balancer.Config{Policy: policy}
	if err := config.Validate(); err != nil {
		return nil, nil, err
	}
	switch protocol + " " + via {
	case "grpc k8s", "grpc headless":
		return askGRPC(via+":///"+target, grpcbalancer.DialOptions(config)...)
	case "grpc api": // k8s without its fall-back
		return askGRPC("k8s:///"+target, append(grpcbalancer.DialOptions(config),
			grpc.WithResolvers(resolver.NewBuilder("k8s", resolver.Config{Source: kube.InCluster()})))...)
	case "grpc dns":
		return askGRPC("dns:///"+target, grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"round_robin":{}}]}`))
	case "grpc clusterip":
		return askGRPC("passthrough:///" + target)
	case "http k8s":
		return askSidestep(httpbalancer.New(httpbalancer.Config{Balancer: config}), target)
	case "http api":
		return askSidestep(httpbalancer.New(httpbalancer.Config{Balancer: config, Source: kube.InCluster()}), target)
	case "http headless":
		return askSidestep(httpbalancer.New(httpbalancer.Config{Balancer: config, Source: dns.System()}), target)
	case "http clusterip":
		return askHTTP(http.DefaultClient, target), http.DefaultClient.CloseIdleConnections, nil
	}
	return nil, nil, fmt.Errorf("-protocol %q -via %q: no such way; there are grpc via k8s, api, headless, dns and clusterip, and http via k8s, api, headless and clusterip", protocol, via)
}

func askGRPC(target string, opts ...grpc.DialOption) (ask, func(), error) {
	conn, err := grpc.NewClient(target, append(opts, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		return nil, nil, err
	}
	return func(ctx context.Context) (string, error) {
		answer, err := quiz.Ask(ctx, conn)
		return answer.Pod, err
	}, func() { conn.Close() }, nil
}

func askSidestep(transport *httpbalancer.Transport, target string) (ask, func(), error) {
	return askHTTP(&http.Client{Transport: transport}, target), func() { transport.Close() }, nil
}

func askHTTP(client *http.Client, target string) ask {
	return func(ctx context.Context) (string, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, http.NoBody)
		if err != nil {
			return "", err
		}
		response, err := client.Do(request)
		if err != nil {
			return "", err
		}
		defer response.Body.Close()
		body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
		if err != nil {
			return "", fmt.Errorf("read the answer: %w", err)
		}
		if response.StatusCode != http.StatusOK {
			return "", &statusError{response.StatusCode, string(body)}
		}
		var answer quiz.Answer
		if err := json.Unmarshal(body, &answer); err != nil {
			return "", fmt.Errorf("parse the answer: %w", err)
		}
		return answer.Pod, nil
	}
}
