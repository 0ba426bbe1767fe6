// Package adapter is what an adapter needs to send requests over connections of its
// own: grpcbalancer and httpbalancer are two, and others can be written outside.
// Programs that use an adapter need only package balancer.
//
// An adapter makes a [Balancer] for each target with [New], gives it the endpoints that
// discovery finds with [Balancer.Update], and asks [Balancer.Pick] for each request.
// [Hooks] say how it makes the connections of a [Backend]. A [Pick] ends with
// [Pick.Done], which tells what became of the request.
//
// The pick takes no lock, allocates nothing, and does not depend on the number of
// backends.
package adapter
