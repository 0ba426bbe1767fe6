package discovery_test

import (
	"context"
	"fmt"
	"time"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/static"
)

func ExampleParseTarget() {
	target, err := discovery.ParseTarget("k8s:///quiz.kiada.svc.cluster.local:grpc")
	fmt.Println(target.Service, target.Namespace, target.Port, err)

	_, err = discovery.ParseTarget("k8s:///quiz.Kiada:grpc")
	fmt.Println(err)
	// Output:
	// quiz kiada grpc <nil>
	// target "k8s:///quiz.Kiada:grpc": at "Kiada:grpc": the namespace holds the capital letter 'K'; Kubernetes names are lower case
}

func ExampleResolve() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	target, _ := discovery.ParseTarget("static:///10.0.0.2:80,10.0.0.1:80")
	snapshot, err := discovery.Resolve(ctx, static.Source{}, target)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, e := range snapshot.Endpoints {
		fmt.Println(e.Addr)
	}
	// Output:
	// 10.0.0.1:80
	// 10.0.0.2:80
}

func ExampleWatch() {
	target, _ := discovery.ParseTarget("static:///10.0.0.1:80")
	sub := discovery.Watch(static.Source{}, target)
	defer sub.Close()

	view, err := sub.Next(context.Background())
	fmt.Println(len(view.Snapshot.Endpoints), view.Stale(), err)
	// Output: 1 false <nil>
}
