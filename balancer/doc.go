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
// user. [Config.NewPolicy] and [RegisterPolicy] take one of the program's own.
//
// # Fitness
//
// Whatever the policy, these hold:
//
//   - A backend that cannot be reached is out until it is reached again.
//   - One that fails more than the others do, by more than chance explains, is
//     ejected for a time (see [health.Rest]), and comes back when a single request,
//     its probe, has succeeded. Half of the backends at most are out for that.
//     Failures and time-outs that all backends have alike eject nobody.
//   - One that joins others, is readmitted or is connected again proves itself: it may
//     have one request waiting for its answer, then twice as many after each round of
//     answers that are about as fast as the others'. A backend that works has its full
//     share after a few answers, a cold one gets what it can do. Streams are not held
//     back. Where nearly all are new, none is.
//   - One that asks for a pause (Retry-After of 503) gets it.
//   - None of this takes more than the others can carry: once they are overloaded, what
//     works in part is used again. When none is fit, all are used rather than none.
//   - A request that its caller cancels, and an answer that says that the request was
//     wrong, are held against nobody.
//
// # Latency
//
// [Adaptive] compares requests that are alike. Adapters tell it their class, the gRPC
// method or the HTTP route: a latency counts by how it compares with those of its class,
// and classes that take many times as long as the mean (long polls, slow methods) say
// nothing of a backend for others. A request that has been overtaken by later ones is no
// sign that its backend hangs, and neither is a silent stream.
//
// The pick takes no lock, allocates nothing, and does not depend on the number
// of backends.
package balancer
