package balancer

import (
	"maps"
	"slices"
)

// A Policy is the rule of the pick. It makes a Picker for each new set of
// backends, and hands on from one to the next what must survive, such as whose
// turn it is. The Balancer calls it from one goroutine at a time.
type Policy interface {
	// Picker returns a Picker among the backends. There is one at least, and the
	// slice never changes. Where there are levels of priority, each has a Picker
	// of its own.
	Picker(backends []*Backend) Picker
}

// A Picker picks among a fixed set of backends. It is used by many goroutines
// at once. It should take no lock and allocate nothing.
type Picker interface {
	// Pick returns one of the backends. It may return one that the request does
	// not admit, or nil, and is asked again then, up to five times; but a policy
	// that chooses between several candidates should choose between those that
	// [Request.Admits].
	Pick(r Request) *Backend
}

// A namedPolicy is one with what the Balancer has to know of it.
type namedPolicy struct {
	Policy
	timed bool // it goes by latencies
}

// observe adds a latency to the estimate of a backend, in the way of the policy. The
// first one that is an outlier counts little. If the next one is like it, the backend
// has become slow.
func (p namedPolicy) observe(e *estimate, now int64, latency float32, b *Backend) {
	if _, ok := p.Policy.(peakEWMA); ok {
		e.peak(now, latency)
		return
	}
	average, _ := e.read(now)
	switch {
	case average > 0 && latency > outlier*average+minOutlier && b.set(slowed):
		e.add(now, outlier*average+minOutlier, outlierWeight)
	case b.is(slowed) && latency <= outlier*average+minOutlier:
		b.unset(slowed)
		fallthrough
	default:
		e.observe(now, latency)
	}
}

// penalize adds what a failure counts as.
func (p namedPolicy) penalize(e *estimate, now int64, latency float32) {
	if _, ok := p.Policy.(peakEWMA); ok {
		e.peak(now, latency)
		return
	}
	e.observe(now, latency)
}

// policies makes a policy by name, out of a valid config and a source of chance.
var policies = map[string]func(c *Config, random func() uint64) namedPolicy{
	Adaptive:     newAdaptive,
	LeastRequest: newLeastRequest,
	Maglev:       newMaglev,
	PeakEWMA:     newPeakEWMA,
	Random:       newRandom,
	RingHash:     newRingHash,
	RoundRobin:   newRoundRobin,
	Weighted:     newWeighted,
}

// Policies returns the names of the policies, sorted.
func Policies() []string { return slices.Sorted(maps.Keys(policies)) }

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
