// Package balancer configures how requests are spread over the backends of a Service,
// and shows what became of them. The adapters balancer/grpcbalancer and
// balancer/httpbalancer use it, and so can others, by package balancer/adapter.
//
//	grpc.NewClient("k8s:///quiz.kiada:grpc", grpcbalancer.DialOptions(balancer.Config{Policy: "round_robin"})...)
//
// Whatever the policy, a backend gets no requests while it is unreachable, while active
// probes fail, and for a time after it failed more than the others; a new backend gets
// its share once it has answered; Retry-After is obeyed. See package balancer/adapter.
package balancer
