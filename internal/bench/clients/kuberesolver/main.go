// Command kuberesolver is a gRPC client with kuberesolver. It is built to be weighed.
package main

import (
	"context"
	"fmt"

	"github.com/sercand/kuberesolver/v6"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
)

func main() {
	kuberesolver.RegisterInCluster()
	conn, err := grpc.NewClient("kubernetes:///quiz:grpc", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"round_robin":{}}]}`))
	if err != nil {
		panic(err)
	}
	fmt.Println(grpc_health_v1.NewHealthClient(conn).Check(context.Background(), nil))
}
