// Package grpcbalancer is sidestep's load-balancing policy for gRPC, and the
// client that uses it:
//
//	conn, err := grpcbalancer.NewClient("k8s:///quiz.kiada:grpc", grpcbalancer.Config{},
//		grpc.WithTransportCredentials(insecure.NewCredentials()))
//
// [DialOptions] returns its options, for programs in which something else makes the
// channel.
//
// The policy keeps one connection to each endpoint and picks one of them for
// each request. A backend whose connection breaks is out until it is connected
// again; the loss is one failure, whatever the number of streams, and none if the
// server had announced it. One that ends too many requests with UNAVAILABLE, INTERNAL,
// DATA_LOSS or DEADLINE_EXCEEDED is ejected for a time, see package health. Other
// statuses are answers, see [CodeOutcome], and Config.Outcome may define it anew.
// What this side did (a message over a limit, credentials that failed, a caller
// that gave up) and what a server says it did not process count for nothing. A
// stream is counted at its end; one that had messages has not failed when its
// caller's deadline passes.
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
// A request that servers say they did not process is sent to another one, for
// free. Other retries are for Config.Retry to allow, or for a retryPolicy in
// Config.ServiceConfig.
package grpcbalancer
