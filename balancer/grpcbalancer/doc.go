// Package grpcbalancer is sidestep's load-balancing policy for gRPC, and the
// dial options that a client needs to use it:
//
//	conn, err := grpc.NewClient("k8s:///quiz.kiada:grpc", append(grpcbalancer.DialOptions(balancer.Config{}),
//		grpc.WithTransportCredentials(insecure.NewCredentials()))...)
//
// The policy keeps one connection to each endpoint and picks one of them for
// each request. A backend whose connection breaks is out until it is connected
// again. One that ends too many requests with UNAVAILABLE, RESOURCE_EXHAUSTED,
// INTERNAL, UNKNOWN, DATA_LOSS or DEADLINE_EXCEEDED is ejected for a time, see
// package health; other statuses say that the request was wrong, or cancelled,
// and count for nothing.
//
// These habits it shares with gRPC's own policies: a backend that leaves gets no
// new request, and finishes those that it has, however long they take; when no
// backend can be reached requests fail at once, unless they are made with
// grpc.WaitForReady; the server that a request went to is what
// google.golang.org/grpc/peer says.
//
// These are its own: a thousand backends that become ready cost a few updates of
// the channel, not a thousand; the pick allocates nothing; its errors name the
// target and the reason; the same address under a new UID is a new backend,
// with a connection of its own.
//
// Its name in a service config is "sidestep", and its configuration is a
// [balancer.Config] as JSON. It works with any name resolver. An endpoint of
// which another resolver knows several addresses is connected to by the first.
//
// The package brings no retries: gRPC itself repeats a request that no server
// has seen, and a retryPolicy in the service config does the rest.
package grpcbalancer
