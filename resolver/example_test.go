package resolver_test

import (
	"fmt"
	"log"
	"net/url"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	grpcresolver "google.golang.org/grpc/resolver"

	"github.com/sidestep-lb/sidestep/discovery/selection"
	"github.com/sidestep-lb/sidestep/discovery/topology"
	"github.com/sidestep-lb/sidestep/resolver"
)

// A builder given to one channel takes the place of the registered one, here to
// heed topology hints and to connect to 20 endpoints of a large Service.
func ExampleNewBuilder() {
	builder := resolver.NewBuilder("k8s", resolver.Config{
		Selection: selection.Config{
			Locality:   topology.Locality{Node: "node-7", Zone: "zone-b"},
			SubsetSize: 20,
		},
	})
	conn, err := grpc.NewClient("k8s:///quiz.kiada:grpc",
		grpc.WithResolvers(builder),
		grpc.WithNoProxy(),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"round_robin":{}}]}`),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	fmt.Println(conn.CanonicalTarget(), conn.GetState())
	// Output: k8s:///quiz.kiada:grpc IDLE
}

// A load-balancing policy finds what discovery knows of an endpoint in its
// attributes.
func ExampleEndpointOf() {
	state := stateOf("static:///10.0.0.1:80") // what UpdateClientConnState is given
	for _, e := range state.Endpoints {
		if known, ok := resolver.EndpointOf(e); ok {
			fmt.Println(known, "is ready:", known.Ready)
		}
	}
	// Output: 10.0.0.1:80 is ready: true
}

// stateOf returns what a channel to target is told first.
func stateOf(target string) grpcresolver.State {
	parsed, err := url.Parse(target)
	if err != nil {
		log.Fatal(err)
	}
	cc := newChannel()
	r, err := resolver.NewBuilder(parsed.Scheme, resolver.Config{}).Build(grpcresolver.Target{URL: *parsed}, cc, grpcresolver.BuildOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	return <-cc.states
}

// An interceptor can tell why a request waited in vain.
func ExamplePending() {
	conn, err := grpc.NewClient("static:///10.0.0.1:80", grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	if pending := resolver.Pending(conn.CanonicalTarget()); pending != nil {
		fmt.Println("still", pending)
	}
	// Output:
}
