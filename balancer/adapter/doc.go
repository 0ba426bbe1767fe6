// Package adapter is what an adapter needs to send requests over connections of its
// own: grpcbalancer and httpbalancer are two, and others can be written outside.
// Programs that use an adapter need only package balancer.
//
// An adapter makes a [Balancer] for each target with [New], gives it the endpoints that
// discovery finds with [Balancer.Update], and asks [Balancer.Pick] for each request.
// [Hooks] say how it makes the connections of a [Backend]. A [Pick] ends with
// [Pick.Done], which tells what became of the request.
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
// [balancer.Adaptive] compares requests that are alike. Adapters tell it their class, the gRPC
// method or the HTTP route: a latency counts by how it compares with those of its class,
// and classes that take many times as long as the mean (long polls, slow methods) say
// nothing of a backend for others. A request that has been overtaken by later ones is no
// sign that its backend hangs, and neither is a silent stream.
//
// The pick takes no lock, allocates nothing, and does not depend on the number of
// backends.
package adapter
