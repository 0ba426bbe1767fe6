package balancer

import (
	"fmt"
	"strings"
)

// The policies that a Config may name.
const (
	// RoundRobin gives each backend in rotation its turn.
	RoundRobin = "round_robin"
	// LeastRequest draws two different backends and takes the one with fewer
	// requests in flight.
	LeastRequest = "least_request"
)

// Config says how to balance. The zero value is ready to use. As JSON it is the
// configuration of gRPC's load-balancing policy "sidestep".
type Config struct {
	// Policy is the rule of the pick. The default is LeastRequest.
	Policy string `json:"policy,omitempty"`
}

// Validate returns an error that names the field whose value is impossible.
func (c Config) Validate() error {
	if _, ok := policies[c.policy()]; !ok {
		return fmt.Errorf("balancer config: policy: %q is unknown; known are %s", c.Policy, strings.Join(Policies(), ", "))
	}
	return nil
}

func (c Config) policy() string {
	if c.Policy == "" {
		return LeastRequest
	}
	return c.Policy
}
