// Package balancer picks the backend that serves the next request.
//
// A [Backend] is an endpoint with its live state, which survives updates of the
// endpoints. A [Balancer] holds the backends of one target, keeps those in
// rotation that are fit, and picks among them by the policy that its [Config]
// names. It knows neither gRPC nor HTTP: the packages balancer/grpcbalancer and
// balancer/httpbalancer bring the connections and report what became of the
// requests. Programs use those two; only the [Config] here is theirs to write.
//
//	grpc.NewClient("k8s:///quiz.kiada:grpc", grpcbalancer.DialOptions(balancer.Config{Policy: "round_robin"})...)
//
// The pick takes no lock, allocates nothing, and does not depend on the number
// of backends.
package balancer
