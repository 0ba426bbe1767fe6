package main

import (
	"math/rand/v2"
	"time"
)

// weightedRoundRobin is gRPC's (gRFC A58): turns in proportion to what a
// server's own reports say it can do, with the defaults.
type weightedRoundRobin struct {
	engine  *engine
	servers []*server
	reports []reportedWeight // by id
	weights []float64        // in units of the largest, × strideScale
	turn    int
}

// The defaults of gRFC A58.
const (
	a58Blackout     = 10 * time.Second
	a58Expiration   = 3 * time.Minute
	a58UpdatePeriod = time.Second
	a58ErrorPenalty = 1.0
)

// strideScale is the weight of the server that has the most.
const strideScale = 65535

// reportedWeight is what a client knows of a server.
type reportedWeight struct {
	weight float64
	first  int64 // when the blackout began; below zero before the first report
	last   int64
}

func newWeightedRoundRobin(w *world, random *rand.Rand) policy {
	p := &weightedRoundRobin{engine: &w.engine, turn: random.IntN(1 << 16)}
	p.updateLater()
	return p
}

func (p *weightedRoundRobin) updateLater() {
	p.engine.after(a58UpdatePeriod, func() {
		p.weigh()
		p.updateLater()
	})
}

func (p *weightedRoundRobin) update(servers []*server) {
	p.servers = servers
	for _, s := range servers {
		for len(p.reports) <= s.id {
			p.reports = append(p.reports, reportedWeight{first: -1})
		}
	}
	p.weigh()
}

// done takes the report that comes with each answer.
func (p *weightedRoundRobin) done(a *attempt, o outcome) {
	report := a.server.report
	if o == timeout || report.utilization == 0 || report.qps == 0 {
		return
	}
	r := &p.reports[a.server.id]
	if r.first < 0 {
		r.first = p.engine.now
	}
	r.weight = report.qps / (report.utilization + report.eps/report.qps*a58ErrorPenalty)
	r.last = p.engine.now
}

// weigh gives servers without a usable report the mean of the others.
func (p *weightedRoundRobin) weigh() {
	p.weights = make([]float64, len(p.servers))
	sum, known, most := 0.0, 0, 0.0
	for i, s := range p.servers {
		r, now := &p.reports[s.id], p.engine.now
		if r.first < 0 || now < r.first+int64(a58Blackout) || now > r.last+int64(a58Expiration) {
			continue
		}
		p.weights[i] = r.weight
		sum, most = sum+r.weight, max(most, r.weight)
		known++
	}
	for i := range p.weights {
		switch {
		case known < 2 || most == 0:
			p.weights[i] = strideScale
		case p.weights[i] == 0:
			p.weights[i] = sum / float64(known) / most * strideScale
		default:
			p.weights[i] *= strideScale / most
		}
	}
}

// pick is A58's static stride scheduler.
func (p *weightedRoundRobin) pick(*attempt) *server {
	for {
		i, generation := p.turn%len(p.servers), p.turn/len(p.servers)
		p.turn++
		weight := int64(p.weights[i]) // the products go beyond 32 bits
		if (weight*int64(generation)+int64(i)*(strideScale/2))%strideScale >= strideScale-weight {
			return p.servers[i]
		}
	}
}
