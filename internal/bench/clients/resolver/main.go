// Command resolver is a gRPC client with sidestep's resolver. It is built to be weighed.
package main

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"

	_ "github.com/sidestep-lb/sidestep/resolver"
)

func main() {
	conn, err := grpc.NewClient("k8s:///quiz:grpc", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"round_robin":{}}]}`))
	if err != nil {
		panic(err)
	}
	fmt.Println(grpc_health_v1.NewHealthClient(conn).Check(context.Background(), nil))
}
