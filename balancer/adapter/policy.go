package adapter

import "github.com/sidestep-lb/sidestep/balancer"

// A policy is the rule of the pick. It makes a picker for each new set of
// backends, and hands on from one to the next what must survive, such as whose
// turn it is. The Balancer calls it from one goroutine at a time.
type policy interface {
	// Picker returns a picker among the backends. There is one at least, and the
	// slice never changes. Where there are levels of priority, each has a picker
	// of its own.
	Picker(backends []*Backend) picker
}

// A picker picks among a fixed set of backends. It is used by many goroutines
// at once. It takes no lock and allocates nothing.
type picker interface {
	// Pick returns one of the backends. It may return one that the request does
	// not admit, or nil, and is asked again then, up to five times; but a policy
	// that chooses between several candidates chooses between those that
	// [Request.Admits].
	Pick(r Request) *Backend
}

// A latencyPolicy is a policy that may go by latencies. Those that are none do not.
type latencyPolicy interface{ usesLatencies() bool }

func usesLatencies(p policy) bool {
	l, ok := p.(latencyPolicy)
	return ok && l.usesLatencies()
}

// policies makes a policy by name, out of a valid config and a source of chance.
var policies = map[string]func(c *balancer.Config, random func() uint64) policy{
	balancer.Adaptive:     newAdaptive,
	balancer.LeastRequest: newLeastRequest,
	balancer.Maglev:       newMaglev,
	balancer.Random:       newRandom,
	balancer.RingHash:     newRingHash,
	balancer.RoundRobin:   newRoundRobin,
	balancer.Weighted:     newWeighted,
}

// scale maps a random r to [0,n) without a division (Lemire). The bias is below
// n/2³².
func scale(r, n uint32) uint32 { return uint32(uint64(r) * uint64(n) >> 32) }

// two maps two random numbers to two different ones in [0,n).
func two(r, s, n uint32) (i, j uint32) {
	i, j = scale(r, n), scale(s, n-1)
	if j >= i {
		j++
	}
	return i, j
}

// without2 maps k, drawn from [0,n-2), to [0,n) without i and j.
func without2(k, i, j uint32) uint32 {
	low, high := min(i, j), max(i, j)
	if k >= low {
		k++
	}
	if k >= high {
		k++
	}
	return k
}
