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
// # Policies
//
// [Adaptive], the default, sends a request where it should be done first. Each
// other policy is for a reason: [RoundRobin] and [Random] for backends that are
// alike and requests that cost the same, [LeastRequest] for long requests whose
// latency says little, [Weighted] for backends that report their load or have
// weights, [RingHash] and [Maglev] for backends that remember something of a
// user, [PeakEWMA] to compare with Finagle and Linkerd. [Config.NewPolicy] takes
// one of the program's own.
//
// # Fitness
//
// Whatever the policy, these hold. A backend that cannot be reached is out until
// it is reached again. One that fails too often is ejected for a time, and comes
// back when a single request, its probe, has succeeded; half of them at most are
// out for that, and when all fail all are used (see package health). One that has
// never answered has one request in flight at a time, and one that joins others
// gets less than its share for 30 seconds. When none is fit, all are used rather
// than none. A request that its caller cancels, and an answer that says that the
// request was wrong, are held against nobody.
//
// The pick takes no lock, allocates nothing, and does not depend on the number
// of backends.
package balancer
