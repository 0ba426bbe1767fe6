package adapter

import (
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
)

// adaptive draws three backends and takes the one where the next request should
// be done first: the latency that is to be expected there, times the requests
// in flight, for its weight.
//
// The latency to be expected is a moving average (over 2 s) of what was
// measured, with two corrections. Requests in flight that are older than the
// average count with their age, as a backend that hangs has no latencies to
// measure (Kratos does the same with more effort; Finagle, Linkerd and Envoy do
// not), see hanging. And what was measured seconds ago counts less: it fades into the
// average of all backends, hardly at first and then fast, so that one that was
// slow is tried again soon after, while one that few requests go to is still
// known. A failure counts as a long latency, see penalize, and fades slowly. One
// that was never measured is tried at once: the average may come from the only
// request so far, which found everything cold, and until there is an answer no
// other request goes there.
//
// Small differences are noise more often than not, so of two backends the one
// that has served fewer requests lately is given up to a fifth. Equal backends
// get about equal shares that way, however much their latencies vary. Nothing
// counts as faster than a millisecond, as in Linkerd.
//
// It is an average and no peak, as in Finagle's peak EWMA: after a pause of one
// backend, peaks make all that have paused lately look dearer than the one that
// pauses now.
type adaptive struct{}

// After how long a measurement has lost 63 % of its meaning.
const (
	fadeTime    = 5 * time.Second
	failureFade = 10 * time.Second
)

const (
	maxFavour  = 1.5 // by which requests served count at most; its root goes into the cost
	minLatency = float32(time.Millisecond)
)

func newAdaptive(*balancer.Config, func() uint64) policy { return adaptive{} }

// usesLatencies implements latencyPolicy.
func (adaptive) usesLatencies() bool { return true }

// Picker implements policy.
func (adaptive) Picker(backends []*Backend) picker { return adaptivePicker(backends) }

type adaptivePicker []*Backend

// Pick implements picker.
func (p adaptivePicker) Pick(r Request) *Backend {
	n := uint32(len(p))
	if n == 1 {
		return p[0]
	}
	roll := r.Random() // one roll serves three draws, 21 bits each
	i, j := two(uint32(roll), uint32(roll>>21), n)
	mean, _ := r.balancer.mean.read(r.now)
	best := p.better(&r, p[i], candidate{}, mean)
	best = p.better(&r, p[j], best, mean)
	if n > 2 {
		k := without2(scale(uint32(roll>>32), n-2), i, j)
		best = p.better(&r, p[k], best, mean)
	}
	if best.Backend != nil {
		best.Backend.served.add(r.now, best.served)
	}
	return best.Backend
}

// A candidate is a backend that was drawn.
type candidate struct {
	*Backend
	cost   float32
	served float32 // requests, lately
}

// better returns the better one of best and b, if b is admitted. The cost
// counts twice as much as the requests that each has served.
func (p adaptivePicker) better(r *Request, b *Backend, best candidate, mean float32) candidate {
	if !r.Admits(b) {
		return best
	}
	c := candidate{b, b.cost(r.now, mean), b.served.read(r.now)}
	if best.Backend == nil || c.cost*c.cost*min(c.served, maxFavour*best.served) < best.cost*best.cost*min(best.served, maxFavour*c.served) {
		return c
	}
	return best
}

// cost is what adaptive compares; mean is the average latency of all backends.
func (b *Backend) cost(now int64, mean float32) float32 {
	cost := max(b.expected(now, mean), b.hanging(now), minLatency) * (float32(b.pending.count()) + b.busy(now, mean) + 1)
	if weight := b.weight.Load(); weight != 1 {
		cost /= float32(weight)
	}
	return cost
}

// secondOpinion is the age of a request, for each power of two of those that have
// had no answer, from which another request is sent to the same backend.
const secondOpinion = float32(time.Second)

// hanging is the mean age of the requests that have been sent since an answer last
// came: the only sign of a backend that has stopped answering, since latencies are
// known only of answers. But one request that is not answered may be one that takes
// long, such as a long poll. Another one tells, so after a second b is given one, after
// two seconds another one, and so on.
func (b *Backend) hanging(now int64) float32 {
	n, age := b.unanswered(now)
	if n == 0 || n <= maxOpinions && age > secondOpinion*float32(int(1)<<(int(n)-1)) {
		return 0
	}
	return age
}

// maxOpinions is how many requests are sent to a backend that does not answer for
// that reason.
const maxOpinions = 5

// expected is the latency that is to be expected by what was measured, 0 if
// nothing was.
func (b *Backend) expected(now int64, mean float32) float32 {
	measured, idle := b.estimate.read(now)
	if measured == 0 {
		return 0
	}
	fade := idle * (1 / float32(fadeTime))
	fade *= fade
	if b.is(failing) {
		fade = idle * (1 / float32(failureFade))
	}
	return mean + (measured-mean)*decay(fade)
}
