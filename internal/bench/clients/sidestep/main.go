// Command sidestep prints the endpoints of a Service, watched by sidestep. It is
// built to be weighed.
package main

import (
	"context"
	"fmt"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/kube"
)

func main() {
	target, err := discovery.ParseTarget("k8s:///quiz:grpc")
	if err != nil {
		panic(err)
	}
	sub := discovery.Watch(kube.InCluster(), target)
	defer sub.Close()
	snapshot, err := sub.First(context.Background())
	if err != nil {
		panic(err)
	}
	fmt.Println(snapshot.Endpoints)
}
