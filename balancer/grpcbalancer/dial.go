package grpcbalancer

import (
	"encoding/json"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	_ "google.golang.org/grpc/health" // without it gRPC ignores a healthCheckConfig

	"github.com/sidestep-lb/sidestep/balancer"
)

// DialOptions returns what a client needs to balance over the endpoints of a
// k8s, headless or static target. Credentials are for the caller to add:
//
//	conn, err := grpc.NewClient("k8s:///quiz.kiada:grpc", append(grpcbalancer.DialOptions(balancer.Config{}),
//		grpc.WithTransportCredentials(insecure.NewCredentials()))...)
//
// A config that is impossible makes grpc.NewClient fail, with an error that
// names the field. The options are, in gRPC's terms:
//
//   - WithDefaultServiceConfig selects the policy with the config. To have
//     retries or health checks, too, give a whole service config after these
//     options, with "loadBalancingConfig": [{"sidestep": {}}] in it. Client-side
//     health checking needs no further import.
//   - WithNoProxy, because no proxy of the environment leads to pods.
//   - WithConnectParams: 250 ms before the second attempt to connect, 1.6 times
//     as much before each further one, up to 15 s; and 5 s for an attempt. gRPC's
//     own values, up to 120 s and 20 s, are those of the open internet.
//   - WithContextDialer: TCP probes find out within 16 s that the node of a pod
//     is dead, which otherwise takes a quarter of an hour or, on an idle
//     connection, for ever. gRPC's keepalive would do the same, but a server
//     that does not expect its pings closes the connection, and by default none
//     expects them more often than every 5 minutes.
//   - WithChainUnaryInterceptor and WithChainStreamInterceptor, which tell a
//     request whose deadline passed before discovery had an answer what it was
//     waiting for. They do nothing otherwise.
//
// Of two options that set the same thing gRPC takes the later, so whatever is
// given after these prevails. The resolver is the one that is registered for the
// scheme. grpc.WithResolvers(resolver.NewBuilder(...)), before or after these,
// replaces it, for example to use another source.
func DialOptions(config balancer.Config) []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithDefaultServiceConfig(serviceConfig(config)),
		grpc.WithNoProxy(),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{
				BaseDelay:  250 * time.Millisecond,
				Multiplier: 1.6,
				Jitter:     0.2,
				MaxDelay:   15 * time.Second,
			},
			MinConnectTimeout: 5 * time.Second,
		}),
		grpc.WithContextDialer(dial),
		grpc.WithChainUnaryInterceptor(explainUnary),
		grpc.WithChainStreamInterceptor(explainStream),
	}
}

// serviceConfig writes the config as gRPC wants it. What is impossible is
// written, too, since it is grpc.NewClient that can return an error.
func serviceConfig(config balancer.Config) string {
	lb := lbConfig{Config: config}
	if err := config.Validate(); err != nil {
		lb = lbConfig{Invalid: err.Error()}
	} else if config.NewPolicy != nil {
		lb = lbConfig{Invalid: "newPolicy: a policy of one's own needs a builder, see NewBuilder"}
	}
	text, err := json.Marshal(lb)
	if err != nil { // a valid Config holds nothing that JSON does not know
		panic(fmt.Sprintf("%s: config: %v", Name, err))
	}
	return fmt.Sprintf(`{"loadBalancingConfig":[{%q:%s}]}`, Name, text)
}
