package balancer

import (
	"math"
	"time"
)

// peakEWMA is Finagle's load metric of that name, to which Linkerd and Envoy
// have taken as well, for those who know it. It draws two different backends
// and takes the one that costs less: a moving average of latencies, times the
// requests in flight and one more. The average jumps up to a higher latency at
// once, and sinks towards lower ones over 10 s; to look at it counts as an
// observation of zero, so that a backend that was slow is tried again.
//
// Two things are not Finagle's: a failure counts as a long latency, see
// penalize, where Finagle takes one that fails fast for the best of all; and the
// cost is divided by the weight.
//
// adaptive does better where all backends pause now and then, as for garbage
// collection: ten seconds of memory make those that have paused look dearer than
// the one that pauses now, of which nothing has been measured yet. It does
// better, too, where one hangs, and it gives equal backends equal shares.
type peakEWMA struct{}

const (
	peakTime    = 10 * time.Second    // Finagle's decayTime, a mean life
	peakUnknown = math.MaxInt64 >> 16 // the cost where requests are in flight and nothing is known; Finagle's Penalty
)

func newPeakEWMA(*Config, func() uint64) namedPolicy { return namedPolicy{peakEWMA{}, true} }

// Picker implements Policy.
func (peakEWMA) Picker(backends []*Backend) Picker { return peakEWMAPicker(backends) }

type peakEWMAPicker []*Backend

// Pick implements Picker.
func (p peakEWMAPicker) Pick(r Request) *Backend {
	n := uint32(len(p))
	if n == 1 {
		return p[0]
	}
	roll := r.Random()
	i, j := two(uint32(roll), uint32(roll>>32), n)
	a, b := p[i], p[j]
	if !r.Admits(a) {
		a = nil
	}
	if !r.Admits(b) {
		return a
	}
	if a != nil && a.peakCost(r.now) <= b.peakCost(r.now) {
		return a
	}
	return b
}

// peakCost is what peakEWMA compares.
func (b *Backend) peakCost(now int64) float64 {
	cost, n := float64(b.estimate.peak(now, 0)), float64(b.load())
	if cost == 0 && n > 0 {
		return peakUnknown + n
	}
	return cost * (n + 1) / float64(b.Weight())
}

// peak adds a latency to an estimate that is a peak, and returns what it is
// then.
func (e *estimate) peak(now int64, latency float32) float32 {
	word := e.word.Load()
	cost, idle := e.read(now)
	switch {
	case latency > cost:
		cost = latency
	case idle == 0: // nothing is known, or no time has passed
		return cost
	default:
		cost = latency + (cost-latency)*decay(idle/float32(peakTime))
	}
	e.word.CompareAndSwap(word, packEstimate(cost, now))
	return cost
}
