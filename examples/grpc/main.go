// Command grpc calls a gRPC Service of the cluster: each call goes straight to one of its ready pods.
package main

import (
	"context"
	"fmt"
	"log"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/sidestep-lb/sidestep/balancer/grpcbalancer"
)

func main() {
	conn, err := grpcbalancer.NewClient("k8s:///quiz.kiada:grpc", grpcbalancer.Config{},
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	answer, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	fmt.Println(answer, err)
}
