package adapter

import (
	"sync/atomic"

	"github.com/sidestep-lb/sidestep/balancer"
)

// roundRobin gives each backend its turn. The turn survives updates. Each
// client goes round in a random order of its own (see Backend.rank), so that
// clients that start together do not walk in step, and the load of a backend
// that fails does not fall on the same neighbour from all of them.
type roundRobin struct {
	_    [64]byte // apart from what others write
	turn atomic.Uint64
	_    [56]byte
}

func newRoundRobin(_ *balancer.Config, random func() uint64) policy {
	p := &roundRobin{}
	p.turn.Store(random() >> 1) // far from overflow, where the turn would jump
	return p
}

// Picker implements policy.
func (p *roundRobin) Picker(backends []*Backend) picker {
	return &roundRobinPicker{turn: &p.turn, backends: backends}
}

type roundRobinPicker struct {
	turn     *atomic.Uint64
	backends []*Backend
}

// Pick implements picker.
func (p *roundRobinPicker) Pick(r Request) *Backend {
	if b := p.backends[p.turn.Add(1)%uint64(len(p.backends))]; r.Admits(b) {
		return b
	}
	return nil
}
