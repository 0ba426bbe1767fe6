package balancer

import "time"

// adaptive draws three backends and takes the one where the next request should
// be done first: the latency that is to be expected there, times the requests
// in flight, for its weight.
//
// The latency to be expected is a moving average (over 2 s) of what was
// measured, with two corrections. Requests in flight that are older than the
// average count with their age, as a backend that hangs has no latencies to
// measure (Kratos does the same with more effort; Finagle, Linkerd and Envoy do
// not). And what was measured long ago counts less: over 10 s it fades into the
// average of all backends, so that one that was slow is tried again. A failure
// counts as a long latency, see penalize.
//
// Small differences are noise: a backend has to be a quarter cheaper than
// another to be preferred, and nothing counts as faster than 0.2 ms. So equal
// backends get equal shares, by the chance of the draw.
//
// It is an average and no peak, as in Finagle's peak EWMA: after a pause of one
// backend, peaks make all that have paused lately look dearer than the one that
// pauses now.
type adaptive struct{}

// fadeTime is after how long a measurement has lost 63 % of its meaning.
const fadeTime = 10 * time.Second

const (
	muchCheaper = 0.75                            // of another's cost
	minLatency  = float32(200 * time.Microsecond) // what is less counts as this
)

func newAdaptive(*Config, func() uint64) namedPolicy { return namedPolicy{adaptive{}, true} }

// Picker implements Policy.
func (adaptive) Picker(backends []*Backend) Picker { return adaptivePicker(backends) }

type adaptivePicker []*Backend

// Pick implements Picker.
func (p adaptivePicker) Pick(r Request) *Backend {
	n := uint32(len(p))
	if n == 1 {
		return p[0]
	}
	roll := r.Random() // one roll serves three draws, 21 bits each
	i, j := scale(uint32(roll), n), scale(uint32(roll>>21), n-1)
	if j >= i {
		j++
	}
	mean, _ := r.balancer.mean.read(r.now)
	best, least := p.cheaper(&r, p[i], nil, 0, mean)
	best, least = p.cheaper(&r, p[j], best, least, mean)
	if n > 2 {
		k := without2(scale(uint32(roll>>32), n-2), i, j)
		best, _ = p.cheaper(&r, p[k], best, least, mean)
	}
	return best
}

// cheaper returns b and its cost if it is admitted and costs less than best.
func (p adaptivePicker) cheaper(r *Request, b, best *Backend, least, mean float32) (*Backend, float32) {
	if !r.Admits(b) {
		return best, least
	}
	if cost := b.cost(r.now, mean); best == nil || cost < muchCheaper*least {
		return b, cost
	}
	return best, least
}

// cost is what adaptive compares; mean is the average latency of all backends.
func (b *Backend) cost(now int64, mean float32) float32 {
	expected, idle := b.estimate.read(now)
	if expected == 0 {
		expected = mean
	} else {
		expected = mean + (expected-mean)*decay(idle/float32(fadeTime))
	}
	waiting, age := b.pending.read(now)
	cost := max(expected, age, minLatency) * (waiting + float32(b.open.Load()) + 1)
	if weight := b.weight.Load(); weight != 1 {
		cost /= float32(weight)
	}
	return cost
}
