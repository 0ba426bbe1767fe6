package httpbalancer

import (
	"math"
	"sync/atomic"
)

// A gate counts those who are inside. It can be shut forever, but only while
// nobody is.
type gate struct{ inside atomic.Int64 }

const gateShut = math.MinInt64 / 2

// enter reports whether the caller is inside, and has to leave one day.
func (g *gate) enter() bool {
	if g.inside.Add(1) > 0 {
		return true
	}
	g.inside.Add(-1)
	return false
}

func (g *gate) leave() { g.inside.Add(-1) }

// shut reports whether the gate is shut now because nobody was inside.
func (g *gate) shut() bool { return g.inside.CompareAndSwap(0, gateShut) }
