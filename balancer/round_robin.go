package balancer

import "sync/atomic"

// roundRobin gives each backend its turn. The turn survives updates. Each
// client goes round in a random order of its own (see Backend.rank), so that
// clients that start together do not walk in step, and the load of a backend
// that fails does not fall on the same neighbour from all of them.
type roundRobin struct{ turn atomic.Uint64 }

func newRoundRobin(random func() uint64) policy {
	p := &roundRobin{}
	p.turn.Store(random() >> 1) // far from overflow, where the turn would jump
	return p
}

func (p *roundRobin) picker(backends []*Backend) picker {
	return &roundRobinPicker{turn: &p.turn, backends: backends}
}

type roundRobinPicker struct {
	turn     *atomic.Uint64
	backends []*Backend
}

func (p *roundRobinPicker) pick() *Backend {
	return p.backends[p.turn.Add(1)%uint64(len(p.backends))]
}
