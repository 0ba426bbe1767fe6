package balancer

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// The policies that a Config may name.
const (
	// Adaptive draws three backends and takes the one where the request should
	// be done first, by latency, failures and requests in flight.
	Adaptive = "adaptive"
	// LeastRequest draws two different backends, or Config.Choices, and takes
	// the one with the fewest requests in flight, for its weight.
	LeastRequest = "least_request"
	// PeakEWMA draws two different backends and takes the one with the lower
	// latency, by Finagle's formula, times requests in flight. Adaptive does
	// better; this one is for those who know it.
	PeakEWMA = "peak_ewma"
	// Maglev gives requests with the same key to the same backend, like RingHash,
	// with more even shares and more keys that move when backends come and go.
	Maglev = "maglev"
	// Random draws a backend.
	Random = "random"
	// RingHash gives requests with the same key to the same backend, in
	// proportion to weights, see [WithKey], Config.HashKey and
	// Config.BoundedLoad. Requests without a key are spread by chance. The one
	// request that probes a backend after its ejection may have any key.
	RingHash = "ring_hash"
	// RoundRobin gives each backend in rotation its turn.
	RoundRobin = "round_robin"
	// Weighted gives each backend turns in proportion to its weight, or to what
	// it can serve by the load that it reports, see [Backend.Report].
	Weighted = "weighted"
)

// Config says how to balance. The zero value is ready to use. As JSON it is the
// configuration of gRPC's load-balancing policy "sidestep", in which durations are
// written like "1.5s".
type Config struct {
	// Policy is the rule of the pick. The default is Adaptive.
	Policy string `json:"policy,omitempty"`
	// NewPolicy, if set, makes a policy of the program's own, and Policy is not
	// used. Random is the source of chance that it should use.
	NewPolicy func(random func() uint64) Policy `json:"-"`
	// Choices is how many backends LeastRequest draws, 2 to 10. The default is 2.
	Choices int `json:"choices,omitempty"`
	// ActiveRequestBias says how much LeastRequest heeds requests in flight where
	// backends have weights: not at all near 0, in proportion at 1, the default.
	ActiveRequestBias float64 `json:"activeRequestBias,omitempty"`
	// HashKey says where RingHash and Maglev find the key of a request, besides
	// WithKey.
	HashKey KeySource `json:"hashKey,omitzero"`
	// BoundedLoad is how many times the average number of this client's requests
	// in flight a backend may have, for its weight and rounded up, before RingHash
	// and Maglev send further requests for its keys to other backends. It is more
	// than 1; 1.25 is the default. So a client that has few requests in flight
	// does not always send those of one key to one backend when they are made at
	// the same time. A huge value, such as 1e9, is no bound.
	BoundedLoad float64 `json:"boundedLoad,omitempty"`
	// MaxInFlight is how many requests of this client a backend may have in
	// flight; when all that are fit have as many, a request fails. The default,
	// 0, is no limit.
	MaxInFlight int `json:"maxInFlight,omitempty"`
	// AnsweredLoad is how much a request counts for the policies that go by
	// requests in flight once its answer has begun, as that of a stream has with
	// its first message. The default, 1, is as much as one that waits for its
	// answer. Streams that stay open for long and carry little want less, such as
	// 0.1. A negative value is nothing at all. MaxInFlight and BoundedLoad count
	// them in full.
	AnsweredLoad float64 `json:"answeredLoad,omitempty"`
	// MaxEjectedPercent is how many of the backends may be ejected at once for
	// their failures, see package health; it is never all of them. The default
	// is 50. A negative value is to eject none.
	MaxEjectedPercent int `json:"maxEjectedPercent,omitempty"`
	// SlowStart is how long a backend that joins others gets less than its share
	// of the requests: a tenth at first, then in proportion to the time, as in Envoy.
	// The default, 0, is not to do that: a newcomer is admitted by its answers, which
	// takes a few of them. What SlowStart holds back the others have to carry: in a
	// rollout that replaces a pod every 2 s, 30 s of it take half of the pods' share
	// away. So it is for backends whose first minute of answers is wrong or harmful,
	// not for those that are slow at first. It ends early for all while newcomers are
	// most of the backends.
	SlowStart time.Duration `json:"slowStart,omitempty"`
}

const defaultMaxEjectedPercent = 50

// Validate returns an error that names the field whose value is impossible.
func (c Config) Validate() error {
	fail := func(field, problem string) error { return fmt.Errorf("%s: %s", field, problem) }
	switch _, known := policies[c.policy()]; {
	case !known:
		return fail("policy", fmt.Sprintf("%q is unknown; known are %s", c.Policy, strings.Join(Policies(), ", ")))
	case c.Choices != 0 && (c.Choices < 2 || c.Choices > maxChoices):
		return fail("choices", "want 2 to 10")
	case !(c.ActiveRequestBias >= 0 && c.ActiveRequestBias <= 100):
		return fail("activeRequestBias", "want 0 to 100")
	case !isToken(c.HashKey.Header):
		return fail("hashKey.header", "it is no name of a header")
	case !isToken(c.HashKey.Cookie):
		return fail("hashKey.cookie", "it is no name of a cookie")
	case c.BoundedLoad != 0 && !(c.BoundedLoad > 1 && c.BoundedLoad < math.Inf(1)):
		return fail("boundedLoad", "want more than 1")
	case c.MaxInFlight < 0:
		return fail("maxInFlight", "it is negative")
	case !(c.AnsweredLoad <= 1):
		return fail("answeredLoad", "want 1 at most")
	case c.MaxEjectedPercent > 100:
		return fail("maxEjectedPercent", "want 100 at most")
	}
	return nil
}

func (c *Config) policy() string {
	if c.Policy == "" {
		return Adaptive
	}
	return c.Policy
}

func (c *Config) newPolicy(random func() uint64) namedPolicy {
	if c.NewPolicy != nil {
		return namedPolicy{c.NewPolicy(random), true}
	}
	return policies[c.policy()](c, random)
}

func (c *Config) answeredLoad() float32 {
	if c.AnsweredLoad == 0 {
		return 1
	}
	return float32(max(c.AnsweredLoad, 0))
}

func (c *Config) slowStart() time.Duration {
	return max(c.SlowStart, 0)
}
