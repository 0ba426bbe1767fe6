package grpcbalancer

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/serviceconfig"
	"google.golang.org/grpc/status"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/selection"
	"github.com/sidestep-lb/sidestep/health"
	"github.com/sidestep-lb/sidestep/internal/jsonconfig"
)

// Config says how a channel works. The zero value is ready to use.
type Config struct {
	// Name tells this channel from others to the same target, in the Client field of
	// balancer.Statuses and in the log. The default is none.
	Name string
	// Logger gets what the channel has to say: backends that are ejected, say. The
	// default is slog.Default(). The watch of a target, which all clients of a process
	// share, logs to slog.Default(). A Logger has no effect together with a resolver of
	// another package.
	Logger *slog.Logger
	// Balancer says how to choose among the backends.
	Balancer balancer.Config
	// Source finds the endpoints of a k8s or headless target. The default is the
	// process's own for the scheme, see [selection.DefaultSource]: for k8s the API
	// server of the cluster, with DNS to fall back on where that refuses or cannot be
	// reached from the start, and for headless the DNS of /etc/resolv.conf.
	Source discovery.Source
	// Selection says which of the endpoints the channel uses. The default is all that
	// kube-proxy would use.
	Selection selection.Config
	// Retry says when a unary call is sent to another backend.
	Retry Retry
	// Hedge, if its Percentile is set, sends calls that take long to a second
	// backend.
	Hedge Hedge
	// Outcome, if set, says what a status means for the backend that ended an
	// attempt with it, OK included. The method is such as "/pkg.Service/Method".
	// It is asked once for each attempt, at its end, and by many goroutines; it
	// is not asked where the status was made by the client (the connection was
	// lost, the message was too long, the deadline passed). health.Unreachable
	// counts as health.Failure. The default is [CodeOutcome]. It needs the
	// interceptors of DialOptions.
	Outcome func(method string, s *status.Status, trailer metadata.MD) health.Outcome
	// ServiceConfig is the rest of the channel's service config as JSON, such as
	// methodConfig with a retryPolicy, or healthCheckConfig. It must not choose a
	// load-balancing policy, which is this one. (A whole service config may be given
	// after DialOptions instead, with "loadBalancingConfig": [{"sidestep": {}}] in it.)
	ServiceConfig string
	// MaxConnections is how many connections a backend may have. It gets another
	// one when all that it has carry StreamsPerConnection requests, and gives it
	// back when it has not been needed for a minute. The default is 1: requests
	// that are more than the server's SETTINGS_MAX_CONCURRENT_STREAMS wait, as
	// gRPC has it. Go's own servers have no such limit.
	MaxConnections int
	// StreamsPerConnection is the limit of the servers, where MaxConnections is
	// more than 1. The default is 100.
	StreamsPerConnection int
	// ReportPeriod, if not 0, is how often servers are to report their load out
	// of band, by the service xds.service.orca.v3.OpenRcaService (gRFC A51), for the
	// policy weighted. The default is to take what comes with answers. A server
	// without that service is asked once.
	ReportPeriod time.Duration
	// Traced, if set, is told at the end of each call where it went, and why more
	// than once, and of a stream when it has had its first message, or has ended
	// without one, or could not be opened: once of each. It is for traces, see
	// package balancer/telemetry, and must not block.
	Traced func(ctx context.Context, t *balancer.Trace)
}

// Validate returns an error that names the field whose value is impossible.
func (c Config) Validate() error {
	fail := func(field string, value any, problem string) error {
		return fmt.Errorf("%s: %v %s", field, value, problem)
	}
	switch {
	case c.Balancer.NewPolicy != nil:
		return errors.New("Balancer.NewPolicy: in gRPC such a policy needs a name, see balancer.RegisterPolicy")
	case c.MaxConnections < 0:
		return fail("MaxConnections", c.MaxConnections, "is negative")
	case c.StreamsPerConnection < 0:
		return fail("StreamsPerConnection", c.StreamsPerConnection, "is negative")
	case c.ReportPeriod < 0:
		return fail("ReportPeriod", c.ReportPeriod, "is negative")
	}
	if err := c.Selection.Validate(); err != nil {
		return inField("Selection", err)
	}
	if err := c.forPolicy(0).validate(); err != nil {
		return inField("Balancer", err) // its other fields have been looked at
	}
	return cmp.Or(c.Retry.validate(), c.Hedge.validate(), c.validateServiceConfig())
}

// inField says in which field an error is.
func inField(name string, err error) error { return fmt.Errorf("%s: %w", name, err) }

// An lbConfig is the part of a Config that the policy needs, as gRPC hands it
// around. Policies that wrap others, such as random_subsetting_experimental,
// write it as JSON and read it again.
type lbConfig struct {
	serviceconfig.LoadBalancingConfig
	balancer.Config
	channelFields
}

// channelFields are those that a balancer.Config does not have.
type channelFields struct {
	MaxConnections       int                 `json:"maxConnections,omitempty"`
	StreamsPerConnection int                 `json:"streamsPerConnection,omitempty"`
	ReportPeriod         jsonconfig.Duration `json:"reportPeriod,omitempty"`
	Name                 string              `json:"name,omitempty"`
	Channel              uint64              `json:"channel,omitempty"` // whose config it is
	Invalid              string              `json:"invalid,omitempty"` // why there is no Config
}

// MarshalJSON implements json.Marshaler.
func (c *lbConfig) MarshalJSON() ([]byte, error) {
	fields := make(map[string]json.RawMessage)
	for _, part := range []any{c.Config, c.channelFields} {
		text, err := json.Marshal(part)
		if err == nil {
			err = json.Unmarshal(text, &fields)
		}
		if err != nil {
			return nil, err
		}
	}
	return json.Marshal(fields)
}

// UnmarshalJSON implements json.Unmarshaler. An error names the field.
func (c *lbConfig) UnmarshalJSON(text []byte) error {
	return cmp.Or(c.Config.UnmarshalJSON(text), jsonconfig.Read(text, &c.channelFields))
}

func (c *Config) forPolicy(channel uint64) *lbConfig {
	return &lbConfig{
		Config: c.Balancer,
		channelFields: channelFields{
			Name:                 c.Name,
			Channel:              channel,
			MaxConnections:       c.MaxConnections,
			StreamsPerConnection: c.StreamsPerConnection,
			ReportPeriod:         jsonconfig.Duration(c.ReportPeriod),
		},
	}
}

var errCookie = errors.New("hashKey.cookie: gRPC has no cookies; want header")

func (c *lbConfig) validate() error {
	err := c.Validate()
	switch {
	case err != nil:
		return err
	case c.HashKey.Cookie != "":
		return errCookie
	case c.MaxConnections < 0 || c.StreamsPerConnection < 0 || c.ReportPeriod < 0:
		return errors.New("maxConnections, streamsPerConnection and reportPeriod must not be negative")
	}
	return nil
}

// validateServiceConfig reads as much of ServiceConfig as is to be known here.
// gRPC reads the rest, and grpc.NewClient fails if it cannot.
func (c *Config) validateServiceConfig() error {
	if c.ServiceConfig == "" {
		return nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal([]byte(c.ServiceConfig), &fields); err != nil {
		return fmt.Errorf("ServiceConfig: %w", err)
	}
	for _, name := range []string{"loadBalancingConfig", "loadBalancingPolicy"} {
		if _, ok := fields[name]; ok {
			return fmt.Errorf("ServiceConfig: %s is for Balancer to choose", name)
		}
	}
	return nil
}

// serviceConfig writes the config as gRPC wants it. What is impossible is
// written, too, since it is grpc.NewClient that can return an error.
func (c *Config) serviceConfig(channel uint64) string {
	lb, rest := c.forPolicy(channel), c.ServiceConfig
	if err := c.Validate(); err != nil {
		lb, rest = &lbConfig{channelFields: channelFields{Invalid: err.Error()}}, ""
	}
	fields := make(map[string]json.RawMessage)
	if rest != "" {
		if err := json.Unmarshal([]byte(rest), &fields); err != nil { // it has been validated
			panic(fmt.Sprintf("%s: service config: %v", Name, err))
		}
	}
	text, err := json.Marshal(lb)
	if err != nil { // a valid Config holds nothing that JSON does not know
		panic(fmt.Sprintf("%s: config: %v", Name, err))
	}
	fields["loadBalancingConfig"] = fmt.Appendf(nil, `[{%q:%s}]`, Name, text)
	if text, err = json.Marshal(fields); err != nil {
		panic(fmt.Sprintf("%s: service config: %v", Name, err))
	}
	return string(text)
}
