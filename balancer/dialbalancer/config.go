package dialbalancer

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/selection"
)

// A Removal says what becomes of the open connections to a pod that is no longer
// one to use: it terminates, has left the Service's endpoints, is not ready, or a
// topology hint or this client's subset gives it to other clients. A primary that
// has been demoted is such a pod if the Service selects primaries only.
type Removal int

// The values of Config.Removal.
const (
	// CloseOnNextUse marks the connections: pools that check a connection before
	// they reuse it replace it. A Write on a connection that has been idle for a
	// second fails with [ErrRemoved] before it has sent anything, which the pings
	// of pgxpool and database/sql find out before a query does. Connections to a
	// pod that terminates or has left close after the DrainTimeout.
	CloseOnNextUse Removal = iota
	// CloseAtOnce closes the connections, whatever they are used for.
	CloseAtOnce
	// CloseAfterDrainTimeout marks the connections and lets every Write pass.
	// Those to a pod that terminates or has left close after the DrainTimeout.
	CloseAfterDrainTimeout
)

// Config says how a Dialer works. The zero value is ready to use in a pod.
type Config struct {
	// Name tells this Dialer from others to the same Service, in the Client field of
	// balancer.Statuses and in the log. The default is none.
	Name string
	// Balancer says how to choose among the pods. The default policy is
	// balancer.LeastRequest with ten Choices, where the requests in flight are the
	// connections that are open: up to ten pods it finds the one with the fewest.
	// MaxInFlight is how many connections a pod may have. The keys of
	// balancer.RingHash and balancer.Maglev are those of balancer.WithKey.
	Balancer balancer.Config
	// Source finds the endpoints. The default is the process's own for the scheme of
	// the target, see [selection.DefaultSource].
	Source discovery.Source
	// Selection says which of the endpoints of a Service this client uses. The
	// default is all that kube-proxy would use. Connections are not marked (see
	// RebalanceOver) to come home from another zone.
	Selection selection.Config
	// Removal says what becomes of open connections when their pod is removed. The
	// default is CloseOnNextUse.
	Removal Removal
	// DrainTimeout is how long connections stay open after their pod began to
	// terminate or left the Service's endpoints. Then they close, and what uses them
	// fails with an error that wraps [ErrRemoved]. The default is 30 seconds, which
	// is also Kubernetes' default terminationGracePeriodSeconds. It does not count
	// for CloseAtOnce.
	DrainTimeout time.Duration
	// RebalanceOver is how long it takes to mark the connections that the pods have
	// too many of, after pods have been added or have come back. It spreads the new
	// connections over time. The default is 5 seconds; a negative value is never to
	// mark any. Only connections that the policy balancer.LeastRequest has placed
	// are marked: others are where they are for a reason.
	RebalanceOver time.Duration
	// Dial makes the connections, to pods and to other addresses. The default is a
	// net.Dialer that gives a pod two seconds to accept a connection and finds out
	// by TCP keepalive within 16 seconds that an idle peer is gone.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Logger gets what is worth a line. The default is slog.Default().
	Logger *slog.Logger
}

const (
	defaultDrainTimeout  = 30 * time.Second
	defaultRebalanceOver = 5 * time.Second
	defaultChoices       = 10 // the most that balancer.Config allows
)

// validate names the first field that is impossible.
func (c *Config) validate() error {
	fail := func(field, problem string) error { return fmt.Errorf("dialbalancer: Config.%s: %s", field, problem) }
	if err := c.Balancer.Validate(); err != nil {
		return fmt.Errorf("dialbalancer: Config.Balancer: %w", err)
	}
	if err := c.Selection.Validate(); err != nil {
		return fmt.Errorf("dialbalancer: Config.Selection.%w", err)
	}
	switch {
	case c.Removal < CloseOnNextUse || c.Removal > CloseAfterDrainTimeout:
		return fail("Removal", fmt.Sprintf("%d is none of the constants", c.Removal))
	case c.DrainTimeout < 0:
		return fail("DrainTimeout", fmt.Sprintf("%v is negative", c.DrainTimeout))
	}
	return nil
}

// withDefaults returns the Config with its defaults.
func (c Config) withDefaults() Config {
	if c.Balancer.Policy == "" && c.Balancer.NewPolicy == nil {
		c.Balancer.Policy = balancer.LeastRequest
		if c.Balancer.Choices == 0 {
			c.Balancer.Choices = defaultChoices
		}
	}
	if c.DrainTimeout == 0 {
		c.DrainTimeout = defaultDrainTimeout
	}
	if c.RebalanceOver == 0 {
		c.RebalanceOver = defaultRebalanceOver
	}
	if c.Dial == nil {
		c.Dial = dialer.DialContext
	}
	return c
}

// rebalances reports whether connections are marked when pods are added.
func (c *Config) rebalances() bool {
	return c.RebalanceOver > 0 && c.Balancer.Policy == balancer.LeastRequest && c.Balancer.NewPolicy == nil
}
