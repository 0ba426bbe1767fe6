package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/grpcbalancer"
	"github.com/sidestep-lb/sidestep/balancer/httpbalancer"
	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/dns"
	"github.com/sidestep-lb/sidestep/examples/quiz"
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
	case "grpc dns":
		return askGRPC("dns:///"+target, grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"round_robin":{}}]}`))
	case "grpc clusterip":
		return askGRPC("passthrough:///" + target)
	case "http k8s":
		return askSidestep(httpbalancer.New(httpbalancer.Config{Balancer: config}), target)
	case "http headless":
		return askSidestep(httpbalancer.New(httpbalancer.Config{Balancer: config, Source: dns.System(), Target: headless}), target)
	case "http clusterip":
		return askHTTP(http.DefaultClient, target), http.DefaultClient.CloseIdleConnections, nil
	}
	return nil, nil, fmt.Errorf("-protocol %q -via %q: no such way; there are grpc via k8s, headless, dns and clusterip, and http via k8s, headless and clusterip", protocol, via)
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

// headless reads the host of a URL as the name of a headless Service.
func headless(u *url.URL) (discovery.Target, bool) {
	target, ok := httpbalancer.ServiceTarget(u)
	target.Scheme = discovery.SchemeHeadless
	return target, ok
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
