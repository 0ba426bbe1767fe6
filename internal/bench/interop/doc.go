// Package interop has no code but tests: that requests survive the servers that
// people run as pods. nginx, HAProxy, Apache, lighttpd, Node.js, grpc-js and
// connect-go are started as they are, with settings near their defaults, and are
// reloaded or stopped under load, while clients 0, 1 and 20 ms away send GET
// and POST requests or gRPC calls.
//
// Beside each client of ours runs net/http's or grpc-go's own, at the same time,
// with the same work, at the same servers. Ours must not fail more often, must
// not fail at all where the server says what it did not process, and must eject
// none of the servers, for all of them are well.
//
// A server that is not installed is skipped. SIDESTEP_INTEROP_ROUNDS says how
// often each pod is reloaded or stopped; the default of 2 keeps the whole short.
package interop
