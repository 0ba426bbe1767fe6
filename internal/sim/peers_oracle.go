package main

import "math/rand/v2"

// oracle looks at all servers, and sees what no client can: the requests of the
// others, the queues, the pauses and the faults. It is what could be reached.
type oracle struct {
	world   *world
	random  *rand.Rand
	servers []*server
}

func newOracle(w *world, random *rand.Rand) policy { return &oracle{world: w, random: random} }

func (p *oracle) update(servers []*server) { p.servers = servers }

func (p *oracle) pick(*attempt) *server {
	var best *server
	least, ties := 0.0, 0
	for _, s := range p.servers {
		cost := s.expected(p.world.setup.demand.mean)
		switch {
		case best == nil || cost < least:
			best, least, ties = s, cost, 1
		case cost == least:
			if ties++; p.random.IntN(ties) == 0 {
				best = s
			}
		}
	}
	return best
}

func (p *oracle) done(*attempt, outcome) {}
