package grpcbalancer

import (
	"encoding/json"
	"fmt"

	gbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/serviceconfig"

	"github.com/sidestep-lb/sidestep/balancer"
)

// Name is the name of the policy in a service config.
const Name = "sidestep"

func init() { gbalancer.Register(builder{name: Name}) }

// A NewPolicy makes a policy of the program's own; random is the source of
// chance that it should use.
type NewPolicy = func(random func() uint64) balancer.Policy

// NewBuilder returns a builder of the gRPC policy with a rule of the pick of
// one's own. It is registered from an init function, under a name of its own,
// and named in the service config; the other fields of the config are those of
// [balancer.Config].
func NewBuilder(name string, newPolicy NewPolicy) gbalancer.Builder {
	return builder{name: name, newPolicy: newPolicy}
}

// builder implements gbalancer.Builder and gbalancer.ConfigParser.
type builder struct {
	name      string
	newPolicy NewPolicy // nil where the config names one
}

// Name implements gbalancer.Builder.
func (b builder) Name() string { return b.name }

// Build implements gbalancer.Builder.
func (b builder) Build(cc gbalancer.ClientConn, opts gbalancer.BuildOptions) gbalancer.Balancer {
	return &policy{cc: cc, target: opts.Target.String(), newPolicy: b.newPolicy}
}

// ParseConfig implements gbalancer.ConfigParser. The error names the field that
// is wrong. Unknown fields are ignored, as the interface asks.
func (b builder) ParseConfig(text json.RawMessage) (serviceconfig.LoadBalancingConfig, error) {
	config := &lbConfig{}
	if err := json.Unmarshal(text, config); err != nil {
		return nil, fmt.Errorf("%s config: %w", b.name, err)
	}
	if config.Invalid != "" {
		return nil, fmt.Errorf("grpcbalancer config: %s", config.Invalid)
	}
	if err := config.validate(); err != nil {
		return nil, fmt.Errorf("%s config: %w", b.name, err)
	}
	return config, nil
}
