package adapter

import (
	"math"

	"github.com/sidestep-lb/sidestep/balancer"
)

// leastRequest draws some backends, two unless told otherwise, and takes the
// one with the fewest requests in flight (power of two choices). It draws
// without replacement, as Finagle does and gRFC A48 does not: otherwise a
// backend that hangs still gets 1/n² of all requests, a quarter of them when
// there are two.
//
// Where weights differ, the one with the most weight per request wins: the
// weight over (in flight + 1) to the power of the bias, as in Envoy.
type leastRequest struct {
	choices uint32
	bias    float64
}

// The bounds of gRFC A48.
const (
	defaultChoices = 2
	maxChoices     = 10
)

func newLeastRequest(c *balancer.Config, _ func() uint64) policy {
	p := leastRequest{choices: defaultChoices, bias: 1}
	if c.Choices != 0 {
		p.choices = uint32(c.Choices)
	}
	if c.ActiveRequestBias != 0 {
		p.bias = c.ActiveRequestBias
	}
	return p
}

// Picker implements policy.
func (p leastRequest) Picker(backends []*Backend) picker {
	picker := &leastRequestPicker{backends: backends, choices: min(p.choices, uint32(len(backends)))}
	for _, b := range backends {
		if b.Weight() != backends[0].Weight() {
			picker.bias = p.bias
		}
	}
	return picker
}

type leastRequestPicker struct {
	backends []*Backend
	choices  uint32
	bias     float64 // 0 if all have the same weight
}

// Pick implements picker.
func (p *leastRequestPicker) Pick(r Request) *Backend {
	var best *Backend
	var least float64
	var drawn [maxChoices]uint32
	n := uint32(len(p.backends))
	roll := r.Random()
	for k := range p.choices {
		if k&1 == 1 { // one roll serves two draws, 32 bits each
			roll >>= 32
		} else if k > 0 {
			roll = r.Random()
		}
		i := scale(uint32(roll), n-k)
		i = insert(&drawn, k, i)
		b := p.backends[i]
		if !r.Admits(b) {
			continue
		}
		if load := p.load(b); best == nil || load < least {
			best, least = b, load
		}
	}
	return best
}

// insert maps i, drawn from those indexes that are not among the first k of
// drawn, to the index itself, and adds that to drawn, which is kept sorted.
func insert(drawn *[maxChoices]uint32, k, i uint32) uint32 {
	at := uint32(0)
	for ; at < k && drawn[at] <= i; at++ {
		i++
	}
	for m := k; m > at; m-- {
		drawn[m] = drawn[m-1]
	}
	drawn[at] = i
	return i
}

func (p *leastRequestPicker) load(b *Backend) float64 {
	n := float64(b.load())
	switch p.bias {
	case 0:
		return n
	case 1:
		return (n + 1) / float64(b.Weight())
	default:
		return math.Pow(n+1, p.bias) / float64(b.Weight())
	}
}
