package balancer

import "time"

// The built-in policies of a Config.
const (
	Adaptive     = "adaptive"      // of three random backends, the one expected to finish first
	LeastRequest = "least_request" // of Config.Choices random backends, the one with the fewest requests in flight
	Maglev       = "maglev"        // like RingHash, with more even shares and more keys that move
	Random       = "random"        // a random backend
	RingHash     = "ring_hash"     // the same backend for the same key, see WithKey
	RoundRobin   = "round_robin"   // each backend in turn
	Weighted     = "weighted"      // in turn, by weight or by the load that backends report (ORCA)
)

// Config says how to balance. The zero value is ready to use. As JSON it is the
// configuration of gRPC's load-balancing policy "sidestep", in which durations are
// written like "1.5s".
type Config struct {
	// Policy is the name of the policy, see [Policies]. The default is Adaptive.
	Policy string `json:"policy,omitempty"`
	// NewPolicy, if set, makes a policy of the program's own, in place of Policy.
	// [RegisterPolicy] gives one a name. Many goroutines may call random.
	NewPolicy func(random func() uint64) Policy `json:"-"`
	// Choices is how many backends LeastRequest compares, 2 to 10. The default is 2.
	Choices int `json:"choices,omitempty"`
	// ActiveRequestBias is how much requests in flight count against weight in
	// LeastRequest, as in Envoy: hardly near 0, in proportion at 1, the default.
	ActiveRequestBias float64 `json:"activeRequestBias,omitempty"`
	// HashKey is where RingHash and Maglev find the key, unless WithKey gives one.
	HashKey KeySource `json:"hashKey,omitzero"`
	// BoundedLoad is how many times the mean of requests in flight a backend may have
	// before RingHash and Maglev use the next one. More than 1; the default is 1.25.
	// A huge value, such as 1e9, is no bound: a key then always has one backend.
	BoundedLoad float64 `json:"boundedLoad,omitempty"`
	// MaxInFlight is how many requests of this client a backend may have in flight.
	// When all have as many, a request fails with ErrBusy. The default, 0, is no limit.
	MaxInFlight int `json:"maxInFlight,omitempty"`
	// AnsweredLoad is how much a request in flight counts once its answer has begun, 1
	// by default. Long, quiet streams want less, such as 0.1; a negative value is 0.
	AnsweredLoad float64 `json:"answeredLoad,omitempty"`
	// MaxEjectedPercent is how many backends may be ejected at once, in percent. The
	// default is 50. A negative value ejects none.
	MaxEjectedPercent int `json:"maxEjectedPercent,omitempty"`
	// SlowStart is how long a new backend gets less than its share, as in Envoy. Set it if
	// first answers are wrong or harmful. The default, 0, goes by the answers alone.
	SlowStart time.Duration `json:"slowStart,omitempty"`
}
