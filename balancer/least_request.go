package balancer

// leastRequest draws two backends and takes the one with fewer requests in
// flight (power of two choices). It draws without replacement, as Finagle does
// and gRFC A48 does not: otherwise a backend that hangs still gets 1/n² of all
// requests, a quarter of them when there are two.
type leastRequest struct{ random func() uint64 }

func newLeastRequest(random func() uint64) policy { return leastRequest{random} }

func (p leastRequest) picker(backends []*Backend) picker {
	return &leastRequestPicker{random: p.random, backends: backends}
}

type leastRequestPicker struct {
	random   func() uint64
	backends []*Backend
}

func (p *leastRequestPicker) pick() *Backend {
	n := uint32(len(p.backends))
	if n == 1 {
		return p.backends[0]
	}
	r := p.random() // one roll serves both draws, 32 bits each
	i, j := scale(uint32(r), n), scale(uint32(r>>32), n-1)
	if j >= i {
		j++
	}
	a, b := p.backends[i], p.backends[j]
	if b.InFlight() < a.InFlight() {
		return b
	}
	return a
}

// scale maps a random r to [0,n) without a division (Lemire). The bias is below
// n/2³².
func scale(r, n uint32) uint32 { return uint32(uint64(r) * uint64(n) >> 32) }
