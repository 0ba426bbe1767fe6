package adapter

import (
	"cmp"
	"errors"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/internal/link"
)

const (
	defaultMaxEjectedPercent = 50
	customPolicy             = "custom" // the name of a policy that has none
)

// policyName returns the name of the policy of a valid config.
func policyName(c *balancer.Config) string {
	if c.NewPolicy != nil {
		return customPolicy
	}
	return cmp.Or(c.Policy, balancer.Adaptive)
}

// newPolicy makes the policy of a valid config.
func newPolicy(c *balancer.Config, random func() uint64) (policy, error) {
	build := c.NewPolicy
	if build == nil {
		name := policyName(c)
		if builtIn := policies[name]; builtIn != nil {
			return builtIn(c, random), nil
		}
		registered, _ := link.Policies.Load(name)
		build, _ = registered.(func(func() uint64) balancer.Policy)
	}
	if p := build(random); p != nil {
		return newOwnPolicy(p), nil
	}
	return nil, errors.New("newPolicy: it made no policy")
}

// answeredLoad is how much a request with an answer counts as in flight.
func answeredLoad(c *balancer.Config) float32 {
	if c.AnsweredLoad == 0 {
		return 1
	}
	return float32(max(c.AnsweredLoad, 0))
}

func slowStart(c *balancer.Config) time.Duration { return max(c.SlowStart, 0) }
