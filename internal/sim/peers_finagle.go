package main

import (
	"math"
	"math/rand/v2"
	"time"
)

// p2c is Finagle's power of two choices: of two different servers the one with
// fewer requests in flight.
type p2c struct {
	random   *rand.Rand
	servers  []*server
	inFlight counts
}

func newP2C(_ *world, random *rand.Rand) policy { return &p2c{random: random} }

func (p *p2c) update(servers []*server) {
	p.servers = servers
	p.inFlight.fit(servers)
}

func (p *p2c) pick(*attempt) *server {
	a, b := twoOf(p.servers, p.random)
	if p.inFlight[b.id] < p.inFlight[a.id] {
		a = b
	}
	p.inFlight[a.id]++
	return a
}

func (p *p2c) done(a *attempt, _ outcome) { p.inFlight[a.server.id]-- }

func twoOf(servers []*server, random *rand.Rand) (a, b *server) {
	n := len(servers)
	if n == 1 {
		return servers[0], servers[0]
	}
	i, j := random.IntN(n), random.IntN(n-1)
	if j >= i {
		j++
	}
	return servers[i], servers[j]
}

// peakEWMA is Finagle's p2c with the load metric of PeakEwma.scala, which
// Linkerd has taken over: of two different servers the one that costs less.
type peakEWMA struct {
	engine  *engine
	random  *rand.Rand
	servers []*server
	costs   []peakCost // by id
}

// peakDecay is Finagle's default decayTime, a mean life.
const peakDecay = 10 * time.Second

// peakUnknown is the cost of a server that has requests in flight and has never
// answered.
const peakUnknown = math.MaxInt64 >> 16

type peakCost struct {
	cost    float64 // ns
	stamp   int64
	pending int
}

func newPeakEWMA(w *world, random *rand.Rand) policy {
	return &peakEWMA{engine: &w.engine, random: random}
}

func (p *peakEWMA) update(servers []*server) {
	p.servers = servers
	for _, s := range servers {
		for len(p.costs) <= s.id {
			p.costs = append(p.costs, peakCost{stamp: p.engine.now})
		}
	}
}

func (p *peakEWMA) pick(*attempt) *server {
	a, b := twoOf(p.servers, p.random)
	if p.costs[b.id].get(p.engine.now) < p.costs[a.id].get(p.engine.now) {
		a = b
	}
	p.costs[a.id].pending++
	return a
}

func (p *peakEWMA) done(a *attempt, _ outcome) {
	c := &p.costs[a.server.id]
	c.pending--
	c.observe(p.engine.now, float64(p.engine.now-a.started))
}

// observe jumps up to a higher round-trip time and decays towards a lower one.
func (c *peakCost) observe(now int64, rtt float64) {
	if rtt > c.cost {
		c.cost = rtt
	} else {
		w := math.Exp(-float64(now-c.stamp) / float64(peakDecay))
		c.cost = rtt*(1-w) + c.cost*w
	}
	c.stamp = now
}

func (c *peakCost) get(now int64) float64 {
	c.observe(now, 0)
	if c.cost == 0 && c.pending != 0 {
		return peakUnknown + float64(c.pending)
	}
	return c.cost * float64(c.pending+1)
}
