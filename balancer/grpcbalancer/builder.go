package grpcbalancer

import (
	"encoding/json"
	"fmt"

	gbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/serviceconfig"
)

// Name is the name of the policy in a service config.
const Name = "sidestep"

func init() { gbalancer.Register(builder{}) }

// builder implements gbalancer.Builder and gbalancer.ConfigParser.
type builder struct{}

// Name implements gbalancer.Builder.
func (builder) Name() string { return Name }

// Build implements gbalancer.Builder.
func (builder) Build(cc gbalancer.ClientConn, opts gbalancer.BuildOptions) gbalancer.Balancer {
	return &policy{cc: cc, target: opts.Target.String()}
}

// ParseConfig implements gbalancer.ConfigParser. The error names the field that
// is wrong. Unknown fields are ignored, as the interface asks.
func (builder) ParseConfig(text json.RawMessage) (serviceconfig.LoadBalancingConfig, error) {
	config := &lbConfig{}
	if err := json.Unmarshal(text, config); err != nil {
		return nil, fmt.Errorf("%s config: %w", Name, err)
	}
	if config.Invalid != "" {
		return nil, fmt.Errorf("grpcbalancer config: %s", config.Invalid)
	}
	if err := config.validate(); err != nil {
		return nil, fmt.Errorf("%s config: %w", Name, err)
	}
	return config, nil
}
