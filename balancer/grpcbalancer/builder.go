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
		return nil, fmt.Errorf("%s: read config: %w", Name, err)
	}
	err := config.Validate()
	if err == nil && config.HashKey.Cookie != "" {
		err = errCookie
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", Name, err)
	}
	return config, nil
}

// lbConfig is a Config as gRPC hands it around. Policies that wrap others, such
// as random_subsetting_experimental, write it as JSON and read it again.
type lbConfig struct {
	serviceconfig.LoadBalancingConfig `json:"-"`
	balancer.Config
}
