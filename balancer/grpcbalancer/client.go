package grpcbalancer

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/resolver"
)

// NewClient returns a channel that balances over the endpoints of a target, like
// that of grpc.NewClient with the options of [Config.DialOptions] and then opts.
// Credentials are among opts:
//
//	conn, err := grpcbalancer.NewClient("k8s:///quiz.kiada:grpc", grpcbalancer.Config{},
//		grpc.WithTransportCredentials(insecure.NewCredentials()))
//
// The target is k8s:///SERVICE[.NAMESPACE][:PORT], headless:///NAME[:PORT],
// static:///ADDRESS:PORT,..., or any other that gRPC has a resolver for.
//
// The error of a call is a status, and a *balancer.CallError by errors.As. It is no
// longer the very error value of gRPC: compare codes with status.Code.
//
// NewClient does not wait for the network. Its errors are an impossible config,
// with the name of the field; a malformed target, as a *discovery.TargetError; and
// those of grpc.NewClient.
func NewClient(target string, config Config, opts ...grpc.DialOption) (*grpc.ClientConn, error) {
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("grpcbalancer config: %w", err)
	}
	scheme, _, _ := strings.Cut(target, ":")
	if slices.Contains(resolver.Schemes(), scheme) {
		if _, err := discovery.ParseTarget(target); err != nil {
			return nil, err
		}
	}
	return grpc.NewClient(target, append(config.DialOptions(), opts...)...)
}
