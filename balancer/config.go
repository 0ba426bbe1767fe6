package balancer

import (
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
	// it can serve by the load that it reports, see package balancer/adapter.
	Weighted = "weighted"
)

// Config says how to balance. The zero value is ready to use. As JSON it is the
// configuration of gRPC's load-balancing policy "sidestep", in which durations are
// written like "1.5s".
type Config struct {
	// Policy is the rule of the pick. The default is Adaptive.
	Policy string `json:"policy,omitempty"`
	// NewPolicy, if set, makes a policy of the program's own, and Policy is not
	// used; [RegisterPolicy] gives one a name. Random is the source of randomness that
	// it should use.
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
