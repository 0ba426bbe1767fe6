package grpcbalancer

import (
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	_ "google.golang.org/grpc/health" // without it gRPC ignores a healthCheckConfig
	grpcresolver "google.golang.org/grpc/resolver"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/discovery/selection"
	"github.com/sidestep-lb/sidestep/resolver"
)

// DialOptions returns what a client needs to balance over the endpoints of a
// k8s, headless or static target: those of a [Config] that says no more than how
// to choose among the backends. It is for programs that hand options to something
// that calls grpc.NewClient; others call [NewClient]. Credentials are for the
// caller to add.
func DialOptions(config balancer.Config) []grpc.DialOption {
	return Config{Balancer: config}.DialOptions()
}

// DialOptions returns what a client needs to balance over the endpoints of a
// k8s, headless or static target. They are for one channel, and credentials are
// for the caller to add. A config that is impossible makes grpc.NewClient fail,
// with an error that names the field. The options are, in gRPC's terms:
//
//   - WithDefaultServiceConfig selects the policy with the config, together with
//     Config.ServiceConfig. A service config that is given after these options
//     replaces it as a whole. It should have "loadBalancingConfig": [{"sidestep": {}}]
//     in it. If it names no policy at all, gRPC would take pick_first, and calls fail
//     with FAILED_PRECONDITION and say so. Client-side health checking needs no
//     further import.
//   - WithNoProxy, because no proxy of the environment leads to pods.
//   - WithConnectParams: 250 ms before the second attempt to connect, 1.6 times
//     as much before each further one, up to 15 s; and 5 s for an attempt. gRPC's
//     own values, up to 120 s and 20 s, are those of the open internet.
//   - WithContextDialer: TCP probes find out within 16 s that the node of a pod
//     is dead, which otherwise takes a quarter of an hour or, on an idle
//     connection, forever. gRPC's keepalive would do the same, but a server
//     that does not expect its pings closes the connection, and by default none
//     expects them more often than every 5 minutes.
//   - WithChainUnaryInterceptor and WithChainStreamInterceptor: they let attempts
//     know of those before them, so that a retry goes to another backend; let a
//     stream count as answered with its first message; retry and hedge; and tell a
//     request whose deadline passed before discovery had an answer what it was
//     waiting for.
//
// An interceptor of your own that is given before these options, or by
// grpc.WithUnaryInterceptor, which gRPC always calls first, is called once for each
// call, and sees its final outcome. One of WithChainUnaryInterceptor after these
// options is called once for each attempt that Config.Retry or Config.Hedge makes,
// and sees the outcome of that. gRPC's own retries are below all of them; a
// stats.Handler is told of each.
//
// Of two options that set the same thing gRPC takes the later, so whatever is
// given after these prevails. Resolvers are the exception, of which gRPC takes the
// first: a Config with a Source, a Selection or a Logger brings its own with WithResolvers, and
// without them the resolver is the one that is registered for the scheme, or that
// of grpc.WithResolvers(resolver.NewBuilder(...)) before or after these options.
func (c Config) DialOptions() []grpc.DialOption {
	ch := c.newChannel()
	options := []grpc.DialOption{
		grpc.WithDefaultServiceConfig(c.serviceConfig(ch.id)),
		grpc.WithChainUnaryInterceptor(ch.unary),
		grpc.WithChainStreamInterceptor(ch.stream),
		grpc.WithNoProxy(),
		grpc.WithConnectParams(connectParams),
		grpc.WithContextDialer(dial),
	}
	if c.Source != nil || c.Selection != (selection.Config{}) || c.Logger != nil {
		options = append(options, grpc.WithResolvers(c.resolvers()...))
	}
	return options
}

// resolvers returns those of all schemes.
func (c *Config) resolvers() []grpcresolver.Builder {
	var builders []grpcresolver.Builder
	for _, scheme := range resolver.Schemes() {
		builders = append(builders, resolver.NewBuilder(scheme, resolver.Config{Source: c.Source, Selection: c.Selection, Logger: c.Logger}))
	}
	return builders
}

var connectParams = grpc.ConnectParams{
	Backoff: backoff.Config{
		BaseDelay:  250 * time.Millisecond,
		Multiplier: 1.6,
		Jitter:     0.2,
		MaxDelay:   15 * time.Second,
	},
	MinConnectTimeout: 5 * time.Second,
}
