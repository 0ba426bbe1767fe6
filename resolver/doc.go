// Package resolver is the gRPC name resolver of the schemes k8s (alias
// kubernetes), headless and static. Importing it registers them; the package
// balancer/grpcbalancer, which most programs use, does so.
//
// It works with the load-balancing policies that come with gRPC, too, because
// readiness, topology hints and subsetting are applied before the policy sees
// an endpoint:
//
//	import _ "github.com/sidestep-lb/sidestep/resolver"
//
//	conn, err := grpc.NewClient("k8s:///quiz.kiada:grpc", grpc.WithNoProxy(),
//		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"round_robin":{}}]}`), ...)
//
// A channel learns of changes at once, and for as long as it lives: nothing
// waits for a connection to break, as it does with gRPC's dns resolver. When
// discovery fails the channel keeps its last endpoints. A Service that is known
// to have no endpoint fails requests at once, with an error that says why.
//
// A name that the pod's hosts file has, as the target is written, goes where that
// says, before the Kubernetes API and DNS are asked: see package discovery/hosts.
//
// The package chooses no backend and supplies no service config.
package resolver
