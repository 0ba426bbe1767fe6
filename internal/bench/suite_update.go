package main

import (
	"context"
	"fmt"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/internal/bench/lb"
)

// updateBackends is how many backends there are.
const updateBackends = 10_000

// updateClients are those of the suite. The peers take up to two minutes for
// one start with so many backends.
var updateClients = []struct {
	column
	client string
	once   bool // not in each round
}{
	{column{"balancer.Balancer", true}, lb.Balancer, false},
	{column{"sidestep in gRPC", true}, balancer.Adaptive, false},
	{column{lb.GRPCRoundRobin, false}, lb.GRPCRoundRobin, true},
	{column{lb.GRPCLeastRequest, false}, lb.GRPCLeastRequest, true},
}

func updateSuite(ctx context.Context, o options) ([]table, error) {
	l, err := openLab()
	if err != nil {
		return nil, err
	}
	defer l.close()
	rounds := make([][]lb.UpdateCost, len(updateClients))
	for n := range o.rounds {
		for i, c := range updateClients {
			if c.once && n > 0 {
				continue
			}
			progress("update: round %d of %d: %s", n+1, o.rounds, c.name)
			client, err := lb.Named(c.client)
			if err != nil {
				return nil, err
			}
			r, err := l.measure(ctx, client, lb.Job{Backends: updateBackends})
			if err != nil {
				return nil, err
			}
			rounds[i] = append(rounds[i], *r.Updates)
		}
	}
	return []table{updateTable(rounds)}, nil
}

func updateTable(rounds [][]lb.UpdateCost) table {
	t := table{title: fmt.Sprintf("Updates of a list of %s backends; the peers measured once:", number(updateBackends))}
	for _, c := range updateClients {
		t.columns = append(t.columns, c.column)
	}
	add := func(what string, target target, figure func(lb.UpdateCost) float64) {
		r := row{what: what, target: target}
		for _, of := range rounds {
			var cell []float64
			for _, round := range of {
				cell = append(cell, figure(round))
			}
			r.cells = append(r.cells, cell)
		}
		t.rows = append(t.rows, r)
	}
	add("from none to all ready: CPU, s", atMost(0.3, "0.3"), func(c lb.UpdateCost) float64 { return c.Start.Seconds() })
	add("from none to all ready: pickers published", target{}, func(c lb.UpdateCost) float64 { return float64(c.StartPublished) })
	add("one backend replaced: CPU of the call, ms", atMost(1, "1"), func(c lb.UpdateCost) float64 { return ms(c.ChangeCall) })
	add("one backend replaced: CPU until the new one is in use, ms", target{}, func(c lb.UpdateCost) float64 { return ms(c.Change) })
	add("one backend replaced: pickers published", target{}, func(c lb.UpdateCost) float64 { return c.ChangePublished })
	add("nothing changed: CPU of the call, ms", target{}, func(c lb.UpdateCost) float64 { return ms(c.SameCall) })
	add("nothing changed: allocations", exactly(0), func(c lb.UpdateCost) float64 { return float64(c.SameAllocs) })
	return t
}
