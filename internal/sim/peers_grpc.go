package main

import "math/rand/v2"

// roundRobin is gRPC's: each server in turn, from a random one on.
type roundRobin struct {
	random  *rand.Rand
	servers []*server
	next    int
}

func newRoundRobin(_ *world, random *rand.Rand) policy { return &roundRobin{random: random} }

func (p *roundRobin) update(servers []*server) {
	p.servers, p.next = servers, p.random.IntN(len(servers))
}

func (p *roundRobin) pick(*attempt) *server {
	p.next++
	return p.servers[p.next%len(p.servers)]
}

func (p *roundRobin) done(*attempt, outcome) {}

// leastRequest is gRPC's (gRFC A48): of two draws, with replacement, the one
// with fewer requests in flight.
type leastRequest struct {
	random   *rand.Rand
	servers  []*server
	inFlight counts
}

func newLeastRequest(_ *world, random *rand.Rand) policy { return &leastRequest{random: random} }

func (p *leastRequest) update(servers []*server) {
	p.servers = servers
	p.inFlight.fit(servers)
}

func (p *leastRequest) pick(*attempt) *server {
	best := p.servers[p.random.IntN(len(p.servers))]
	if other := p.servers[p.random.IntN(len(p.servers))]; p.inFlight[other.id] < p.inFlight[best.id] {
		best = other
	}
	p.inFlight[best.id]++
	return best
}

func (p *leastRequest) done(a *attempt, _ outcome) { p.inFlight[a.server.id]-- }

// counts are what a client counts of each server, by id.
type counts []int

func (c *counts) fit(servers []*server) {
	for _, s := range servers {
		for len(*c) <= s.id {
			*c = append(*c, 0)
		}
	}
}
