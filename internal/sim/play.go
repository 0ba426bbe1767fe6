package main

import (
	"slices"
	"sync"
)

// keep lets only the named contestants take part.
func (s *scenario) keep(names []string) {
	s.contestants = slices.DeleteFunc(s.contestants, func(k contestant) bool { return !slices.Contains(names, k.name) })
}

// play measures all contestants of a scenario with the seeds 1, 2, …, several
// runs at a time.
func play(s *scenario, seeds, workers int) *table {
	if s.seeds > 0 {
		seeds = min(seeds, s.seeds)
	}
	t := &table{scenario: s}
	for i := range s.studies {
		t.columns = append(t.columns, s.studies[i].columns...)
	}
	for _, k := range s.contestants {
		r := row{contestant: k, cells: make([][]float64, len(t.columns))}
		for i := range r.cells {
			r.cells[i] = make([]float64, seeds)
		}
		t.rows = append(t.rows, r)
	}
	jobs := make(chan func())
	var wait sync.WaitGroup
	for range workers {
		wait.Go(func() {
			for job := range jobs {
				job()
			}
		})
	}
	for seed := range seeds {
		for _, r := range t.rows {
			first := 0
			for i := range s.studies {
				study, at := &s.studies[i], first
				first += len(study.columns)
				jobs <- func() {
					for i, v := range study.measure(r.contestant, uint64(seed+1)) {
						r.cells[at+i][seed] = v
					}
				}
			}
		}
	}
	close(jobs)
	wait.Wait()
	return t
}
