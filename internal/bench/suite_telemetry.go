package main

import (
	"context"
	"fmt"

	"github.com/sidestep-lb/sidestep/internal/bench/lb"
)

// telemetryBackends is how many backends there are.
const telemetryBackends = 100

// telemetrySuite measures the same policies with telemetry and without. The
// rounds are short and many, as the difference is small.
func telemetrySuite(ctx context.Context, o options) ([]table, error) {
	l, err := openLab()
	if err != nil {
		return nil, err
	}
	defer l.close()
	t := table{
		title:   fmt.Sprintf("CPU time of Pick and Done in gRPC, ns, %d backends, while an OpenTelemetry reader collects each second:", telemetryBackends),
		columns: []column{{"telemetry on", true}, {"off", false}},
	}
	allocs := row{what: "allocations for a pick", target: exactly(0), cells: make([][]float64, 2)}
	for _, policy := range lb.Reported {
		r := row{what: policy + ", 1 CPU", cells: make([][]float64, 2)}
		for n := range 5 * o.rounds {
			for k := range r.cells {
				i := (k + n) % len(r.cells) // nobody is always the first
				name := policy
				if i == 0 {
					name += lb.Telemetry
				}
				progress("telemetry: round %d of %d: %s", n+1, 5*o.rounds, name)
				c, err := lb.Named(name)
				if err != nil {
					return nil, err
				}
				measured, err := l.measure(ctx, c, lb.Job{Backends: telemetryBackends, CPUs: []int{1, 1, 1}})
				if err != nil {
					return nil, err
				}
				for _, cost := range measured.Picks {
					r.cells[i] = append(r.cells[i], float64(cost.CPU))
					allocs.cells[i] = append(allocs.cells[i], float64(cost.Allocs))
				}
			}
		}
		r.target = atMost(1.03*median(r.cells[1]), "1.03 × off")
		t.rows = append(t.rows, r)
	}
	t.rows = append(t.rows, allocs)
	return []table{t}, nil
}
