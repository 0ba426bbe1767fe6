package main

import (
	"fmt"
	"time"
)

// drowningZone is zones: of two zones with as many pods, one has most of the
// clients. A client with SpillOver prefers its own zone; peers know no zones.
func drowningZone() *scenario {
	s := &scenario{
		id: "zones", title: "two zones of 5 pods, 8 clients in one and 2 in the other, ours with SpillOver, 2 s deadline",
		contestants: everyday(), seeds: everydaySeeds,
	}
	for _, load := range []float64{0.5, 0.65, 0.8} {
		setup := busy(10, load, 60*time.Second)
		setup.zones = zones{clients: 8, servers: 5}
		name := func(title string) string { return fmt.Sprintf("%.0f %%: %s", 100*load, title) }
		tail, errors, home := name("p99 ms"), name("errors %"), name("at home %")
		s.studies = append(s.studies, study{setup: setup, columns: []column{
			{tail, percentile(0.99), less}, {errors, failures, less}, {home, atHome, neither},
		}})
		s.targets = append(s.targets, forOurs(func(contestant) target {
			return target{column: tail, bound: "1.15 × " + roundRobinPeer.name, limit: times(1.15, roundRobinPeer.name, tail)}
		})...)
		s.targets = append(s.targets, noErrors(errors)...)
		if load == 0.5 {
			s.targets = append(s.targets, forOurs(func(contestant) target {
				return target{column: home, limit: constant(85), least: true}
			})...)
		}
	}
	return s
}
