package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// A table holds the figures of a scenario.
type table struct {
	scenario *scenario
	columns  []column
	rows     []row
}

type row struct {
	contestant contestant
	cells      [][]float64 // for each column, the figure of each seed
}

// median returns a figure, or NaN if it was not measured.
func (t *table) median(contestant, title string) float64 {
	c := slices.IndexFunc(t.columns, func(c column) bool { return c.title == title })
	r := slices.IndexFunc(t.rows, func(r row) bool { return r.contestant.name == contestant })
	if c < 0 || r < 0 {
		return math.NaN()
	}
	return median(t.rows[r].cells[c])
}

// show prints the table, and reports whether all targets are met.
func (t *table) show(w io.Writer) (met bool) {
	fmt.Fprintf(w, "\n%s: %s\n\n", t.scenario.id, t.scenario.title)
	out := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for _, line := range t.lines() {
		fmt.Fprintln(out, strings.Join(line, "\t"))
	}
	out.Flush()
	fmt.Fprintln(w)
	return t.judge(w)
}

// lines returns a line for each contestant, or for each figure if those are
// more.
func (t *table) lines() [][]string {
	lines := [][]string{{""}}
	for _, c := range t.columns {
		lines[0] = append(lines[0], c.title)
	}
	for _, r := range t.rows {
		line := []string{r.contestant.name}
		for _, cell := range r.cells {
			line = append(line, summary(cell))
		}
		lines = append(lines, line)
	}
	if len(lines) >= len(lines[0]) {
		return lines
	}
	turned := make([][]string, len(lines[0]))
	for _, line := range lines {
		for i, cell := range line {
			turned[i] = append(turned[i], cell)
		}
	}
	return turned
}

// judge prints a line for each target, and reports whether all are met.
func (t *table) judge(w io.Writer) (met bool) {
	met = true
	out := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for _, g := range t.scenario.targets {
		ok, judged := g.met(t)
		verdict := "met"
		switch {
		case !judged:
			verdict = "not judged: a contestant is missing"
		case !ok && g.aim:
			verdict = "MISSED, an aim"
		case !ok:
			verdict, met = "MISSED", false
		}
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\n", g.who(), g.column, number(t.median(g.who(), g.column)), g.text(t), verdict)
	}
	out.Flush()
	t.showLosses(w)
	return met
}

// showLosses says where adaptive is behind a peer, by more than chance.
func (t *table) showLosses(w io.Writer) {
	const chance = 1.03
	for _, c := range t.columns {
		mine := t.median(adaptive, c.title)
		for _, r := range t.rows {
			theirs := t.median(r.contestant.name, c.title)
			behind := c.better == less && mine > theirs*chance || c.better == more && mine*chance < theirs
			if behind && !r.contestant.ours && r.contestant.name != oraclePeer.name {
				fmt.Fprintf(w, "behind %s: %s %s, %s\n", r.contestant.name, c.title, number(mine), number(theirs))
			}
		}
	}
}

func (g *target) text(t *table) string {
	sign := "≤ "
	if g.least {
		sign = "≥ "
	}
	limit := sign + number(g.limit(t))
	if g.bound != "" {
		limit += " (" + g.bound + ")"
	}
	return limit
}

// summary is the median, with the range if there is one.
func summary(values []float64) string {
	low, high := number(slices.Min(values)), number(slices.Max(values))
	if low == high {
		return low
	}
	return fmt.Sprintf("%s (%s–%s)", number(median(values)), low, high)
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// number prints three digits or so.
func number(v float64) string {
	switch {
	case math.IsNaN(v):
		return "-"
	case v > 99 && v < 100: // of a hundred, what is missing matters
		return strconv.FormatFloat(v, 'f', 3, 64)
	case v >= 100 || v == math.Trunc(v):
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case v >= 1:
		return strconv.FormatFloat(v, 'f', 2, 64)
	default:
		return strconv.FormatFloat(v, 'f', 3, 64)
	}
}
