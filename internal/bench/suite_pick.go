package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/internal/bench/lb"
)

// The work of the suite: Pick and Done, with so many backends, on so many CPUs.
var (
	pickBackends = []int{10, 100, 1000, 10_000}
	pickCPUs     = []int{1, 2}
)

// A contest is a policy of sidestep's beside the peers that do the like.
type contest struct {
	ours   string
	peers  []string
	factor float64 // the target, as a multiple of what the first peer takes; 0 for none
	limit  float64 // the target in nanoseconds; 0 for none
}

var contests = []contest{
	{ours: balancer.Adaptive, peers: []string{lb.Kratos, lb.GoZero}, limit: 150},
	{ours: balancer.LeastRequest, peers: []string{lb.GRPCLeastRequest}, factor: 0.5},
	{ours: lb.LeastOfTen, peers: []string{lb.GRPCLeastOfTen}, factor: 0.5},
	{ours: balancer.RoundRobin, peers: []string{lb.GRPCRoundRobin}, factor: 1.5},
	{ours: balancer.Random, peers: []string{lb.GRPCRoundRobin}},
	{ours: balancer.Weighted, peers: []string{lb.GRPCWeighted}},
	{ours: balancer.RingHash, peers: []string{lb.GRPCRingHash}, factor: 0.3},
	{ours: lb.HeaderHash, peers: []string{lb.GRPCRingHash}},
	{ours: balancer.Maglev, peers: []string{lb.GRPCRingHash}},
}

// tooLong is what a process may take to be needed in each round. The ring_hash
// of gRPC takes most of a minute for 10,000 connections.
const tooLong = 15 * time.Second

// pickCosts has, for each client, number of backends and number of CPUs, what
// each round found.
type pickCosts map[string][]pickCell

type pickCell struct {
	nanoseconds, allocs []float64
	once                bool // it took too long to be measured again
}

func pickSuite(ctx context.Context, o options) ([]table, error) {
	l, err := openLab()
	if err != nil {
		return nil, err
	}
	defer l.close()
	costs := make(pickCosts)
	for n := range o.rounds {
		for _, c := range lb.Policies() {
			progress("pick: round %d of %d: %s", n+1, o.rounds, c.Name)
			if err := costs.measure(ctx, l, c); err != nil {
				return nil, err
			}
		}
	}
	var tables []table
	for _, c := range contests {
		tables = append(tables, c.table(costs))
	}
	return tables, nil
}

// measure adds a round of one client.
func (p pickCosts) measure(ctx context.Context, l *lab, c lb.Client) error {
	if p[c.Name] == nil {
		p[c.Name] = make([]pickCell, len(pickBackends)*len(pickCPUs))
	}
	for i, backends := range pickBackends {
		cells := p[c.Name][i*len(pickCPUs):][:len(pickCPUs)]
		if cells[0].once || c.Most > 0 && backends > c.Most {
			continue
		}
		start := time.Now()
		r, err := l.measure(ctx, c, lb.Job{Backends: backends, CPUs: pickCPUs})
		if err != nil {
			return err
		}
		for k, cost := range r.Picks {
			cells[k].nanoseconds = append(cells[k].nanoseconds, float64(cost.CPU))
			cells[k].allocs = append(cells[k].allocs, float64(cost.Allocs))
			cells[k].once = time.Since(start) > tooLong
		}
	}
	return nil
}

func (c contest) table(costs pickCosts) table {
	t := table{
		title:   fmt.Sprintf("%s: CPU time of Pick and Done, ns, %s in flight for each CPU:", c.ours, number(lb.InFlight)),
		columns: []column{{"sidestep " + c.ours, true}},
	}
	for _, peer := range c.peers {
		t.columns = append(t.columns, column{peer, false})
	}
	allocs := row{what: "allocations, at most"}
	if c.ours != lb.HeaderHash { // gRPC copies the metadata for who looks at them
		allocs.target = exactly(0)
	}
	for _, name := range append([]string{c.ours}, c.peers...) {
		most := 0.0
		for _, cell := range costs[name] {
			most = slices.Max(append(cell.allocs, most))
		}
		allocs.cells = append(allocs.cells, []float64{most})
	}
	for i, backends := range pickBackends {
		for k, cpus := range pickCPUs {
			r := row{what: fmt.Sprintf("%s backends, %d CPU", number(float64(backends)), cpus)}
			for _, name := range append([]string{c.ours}, c.peers...) {
				r.cells = append(r.cells, costs[name][i*len(pickCPUs)+k].nanoseconds)
			}
			r.target = c.target(r.cells)
			t.rows = append(t.rows, r)
		}
	}
	t.rows = append(t.rows, allocs)
	return t
}

// target is one for the first of the cells.
func (c contest) target(cells [][]float64) target {
	switch {
	case c.factor > 0:
		return atMost(c.factor*median(cells[1]), fmt.Sprintf("%v × %s", c.factor, c.peers[0]))
	case c.limit > 0:
		return atMost(c.limit, number(c.limit))
	default:
		return target{}
	}
}
