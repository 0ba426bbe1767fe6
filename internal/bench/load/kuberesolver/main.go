// Command kuberesolver is examples/client by the way of kuberesolver, with
// gRPC's round_robin: the same load, measured by the same means. It is built
// for the end-to-end tests, which run it in a pod.
//
//	kuberesolver -target quiz.kiada:grpc
package main

import (
	"flag"
	"log"

	"github.com/sercand/kuberesolver/v6"
	"google.golang.org/grpc"

	"github.com/sidestep-lb/sidestep/examples/client/load"
	"github.com/sidestep-lb/sidestep/examples/client/result"
)

func main() {
	var program load.Program
	program.AddFlags(flag.CommandLine)
	target := flag.String("target", "quiz.kiada:grpc", "`name` of the Service: SERVICE.NAMESPACE:PORT")
	flag.Parse()

	kuberesolver.RegisterInCluster()
	way, err := load.GRPC("kubernetes:///"+*target, grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"round_robin":{}}]}`))
	if err != nil {
		log.Fatal(err)
	}
	err = program.Run(way, result.Result{Target: *target, Protocol: "grpc", Via: "kuberesolver"})
	way.Close()
	if err != nil {
		log.Fatal(err)
	}
}
