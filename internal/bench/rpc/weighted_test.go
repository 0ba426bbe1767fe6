package main

import (
	"context"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	_ "google.golang.org/grpc/balancer/weightedroundrobin"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/orca"
	"google.golang.org/grpc/peer"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/grpcbalancer"
)

// startReporting starts a server that reports with each answer how busy it is.
func startReporting(t *testing.T, utilization float64) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	load := orca.NewServerMetricsRecorder()
	load.SetApplicationUtilization(utilization)
	load.SetQPS(100)
	server := grpc.NewServer(orca.CallMetricsServerOption(load), grpc.ChainUnaryInterceptor(
		func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
			orca.CallMetricsRecorderFromContext(ctx) // without that nothing is reported
			return handle(ctx, req)
		}))
	healthpb.RegisterHealthServer(server, health.NewServer())
	if err := orca.Register(server, orca.ServiceOptions{ServerMetricsProvider: load, MinReportingInterval: 30 * time.Second}); err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return listener.Addr().String()
}

// shareOf returns the share of an address in many requests.
func shareOf(t *testing.T, conn *grpc.ClientConn, address string) float64 {
	t.Helper()
	const n = 600
	got := 0
	for range n {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		var from peer.Peer
		_, err := healthpb.NewHealthClient(conn).Check(ctx, nil, grpc.Peer(&from))
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		if from.Addr.String() == address {
			got++
		}
	}
	return float64(got) / n
}

// waitForShare makes requests until the share is what it should be.
func waitForShare(t *testing.T, conn *grpc.ClientConn, address string, want float64) {
	t.Helper()
	got := 0.0
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		if got = shareOf(t, conn, address); got > want-0.05 && got < want+0.05 {
			return
		}
	}
	t.Errorf("the server with three times the capacity has a share of %.2f, want %.2f", got, want)
}

// gRPC's weighted_round_robin works with sidestep's resolver, and sidestep's
// weighted reads what gRPC's own package orca reports.
func TestLoadReportsOfGRPCsOwnServersCount(t *testing.T) {
	free, busy := startReporting(t, 0.25), startReporting(t, 0.75)
	for name, options := range map[string][]grpc.DialOption{
		"weighted_round_robin": {grpc.WithNoProxy(), grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"weighted_round_robin":{"blackoutPeriod":"0s"}}]}`)},
		"sidestep":             grpcbalancer.DialOptions(balancer.Config{Policy: balancer.Weighted}),
		"sidestep, out of band": grpcbalancer.Config{
			Balancer: balancer.Config{Policy: balancer.Weighted}, ReportPeriod: 30 * time.Second,
		}.DialOptions(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := grpc.NewClient("static:///"+free+","+busy, append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			waitForShare(t, conn, free, 0.75)
		})
	}
}
