package main

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	_ "google.golang.org/grpc/balancer/roundrobin"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/grpcbalancer"
	"github.com/sidestep-lb/sidestep/internal/bench/lb"
)

// The clients, by their dial options. All have the same resolver, which hands on
// a fixed list.
var clients = map[string][]grpc.DialOption{
	"sidestep round_robin": grpcbalancer.DialOptions(balancer.Config{Policy: balancer.RoundRobin}),
	"sidestep adaptive":    grpcbalancer.DialOptions(balancer.Config{}),
	"grpc-go round_robin":  {grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"round_robin":{}}]}`), grpc.WithNoProxy()},
}

const (
	workers  = 4 // each with one request in flight
	measured = 2 * time.Second
	warmUp   = 20 // requests to each server
)

func dial(name string, addresses []string) (*grpc.ClientConn, error) {
	options, ok := clients[name]
	if !ok {
		return nil, fmt.Errorf("there is no client %q", name)
	}
	list := manual.NewBuilderWithScheme("list")
	var state resolver.State
	for _, address := range addresses {
		state.Addresses = append(state.Addresses, resolver.Address{Addr: address})
		state.Endpoints = append(state.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: address}}})
	}
	list.InitialState(state)
	return grpc.NewClient("list:///quiz", append(slices.Clone(options), grpc.WithResolvers(list), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
}

func measure(name string, addresses []string) (map[string]float64, error) {
	conn, err := dial(name, addresses)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	client := healthpb.NewHealthClient(conn)
	if err := reachAll(client, len(addresses)); err != nil {
		return nil, err
	}
	if err := send(warmUp*len(addresses), func() error { return check(client) }); err != nil {
		return nil, err
	}
	runtime.GC()
	return figures(client)
}

func check(client healthpb.HealthClient, options ...grpc.CallOption) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err := client.Check(ctx, &healthpb.HealthCheckRequest{}, options...)
	return err
}

// reachAll makes requests until all servers have answered.
func reachAll(client healthpb.HealthClient, n int) error {
	answered := make(map[string]bool)
	for deadline := time.Now().Add(time.Minute); len(answered) < n; {
		var from peer.Peer
		if err := check(client, grpc.Peer(&from), grpc.WaitForReady(true)); err != nil {
			return err
		}
		answered[from.Addr.String()] = true
		if time.Now().After(deadline) {
			return fmt.Errorf("%d of %d servers have answered in a minute", len(answered), n)
		}
	}
	return nil
}

// send makes n requests, workers of them at a time.
func send(n int, request func() error) error {
	var (
		left  atomic.Int64
		all   sync.WaitGroup
		first atomic.Pointer[error]
	)
	left.Store(int64(n))
	for range workers {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				if err := request(); err != nil {
					first.CompareAndSwap(nil, &err)
					return
				}
			}
		})
	}
	all.Wait()
	if err := first.Load(); err != nil {
		return *err
	}
	return nil
}

// figures are those of closed loops of requests: as many as the machine can do.
func figures(client healthpb.HealthClient) (map[string]float64, error) {
	var before, after runtime.MemStats
	latencies := make([][]time.Duration, workers)
	for i := range latencies {
		latencies[i] = make([]time.Duration, 0, 200_000)
	}
	errs := make([]error, workers)
	runtime.ReadMemStats(&before)
	cpu, began := lb.CPU(), time.Now()
	var all sync.WaitGroup
	for i := range workers {
		all.Go(func() {
			for sent := time.Now(); sent.Sub(began) < measured && errs[i] == nil; {
				errs[i] = check(client)
				now := time.Now()
				latencies[i] = append(latencies[i], now.Sub(sent))
				sent = now
			}
		})
	}
	all.Wait()
	took := time.Since(began)
	cpu = lb.CPU() - cpu
	runtime.ReadMemStats(&after)
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	every := slices.Concat(latencies...)
	slices.Sort(every)
	n := float64(len(every))
	return map[string]float64{
		"rate":   n / took.Seconds(),
		"p50":    us(every[len(every)/2]),
		"p99":    us(every[len(every)*99/100]),
		"cpu":    us(cpu) / n,
		"allocs": float64(after.Mallocs-before.Mallocs) / n,
		"bytes":  float64(after.TotalAlloc-before.TotalAlloc) / n,
	}, nil
}

func us(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
