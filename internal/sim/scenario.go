package main

import "math"

// A scenario is a story that is told to all contestants, in one study or more,
// and the targets of ours.
type scenario struct {
	id, title   string
	contestants []contestant
	studies     []study
	targets     []target
	seeds       int // how often it is played at most; 0 for as often as is asked for
}

// A study is one set-up and what is measured in it.
type study struct {
	setup   setup
	columns []column
	// direct measures the columns without a simulation. It replaces setup.
	direct func(k contestant, seed uint64) []float64
}

// A column is a figure of all contestants.
type column struct {
	title  string // with the unit; unique in a scenario
	figure figure // nil in a direct study
	better order
}

// order says which values are better.
type order int

const (
	less order = iota
	more
	neither // the figure is shown for comparison
)

// measure returns the columns of one run.
func (s *study) measure(k contestant, seed uint64) []float64 {
	if s.direct != nil {
		return s.direct(k, seed)
	}
	r := simulate(s.setup, k, seed)
	values := make([]float64, len(s.columns))
	for i, c := range s.columns {
		values[i] = c.figure(r)
	}
	return values
}

// A target bounds the median of a column.
type target struct {
	column string
	of     string // the contestant; empty for adaptive
	bound  string // "at most" or "at least" what, in words
	limit  limit
	least  bool // the limit is a lower one
	aim    bool // it is what we would like to have: to miss it is no failure
}

// A limit may depend on other figures of the scenario. It is not a number if
// those were not measured.
type limit func(t *table) float64

func constant(v float64) limit { return func(*table) float64 { return v } }

// times is a limit in proportion to a figure of some contestant.
func times(factor float64, contestant, column string) limit {
	return func(t *table) float64 { return factor * t.median(contestant, column) }
}

// met reports whether the target is met. It is neither if it cannot be judged.
func (g *target) met(t *table) (met, judged bool) {
	const rounding = 1e-9
	v, limit := t.median(g.who(), g.column), g.limit(t)
	if math.IsNaN(v) || math.IsNaN(limit) {
		return false, false
	}
	if g.least {
		return v >= limit-rounding, true
	}
	return v <= limit+rounding, true
}

func (g *target) who() string {
	if g.of == "" {
		return adaptive
	}
	return g.of
}
