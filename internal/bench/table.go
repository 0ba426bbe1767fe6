package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// A table has a column for each client.
type table struct {
	title   string
	columns []column
	rows    []row
}

type column struct {
	name string
	ours bool // the targets are for this one
}

// A row is one figure of all clients.
type row struct {
	what   string
	target target      // none if it has no text
	cells  [][]float64 // for each column, the figure of each round
}

type target struct {
	text string
	met  func(median float64) bool
}

func atMost(limit float64, text string) target {
	return target{"≤ " + text, func(v float64) bool { return v <= limit }}
}

func atLeast(limit float64, text string) target {
	return target{"≥ " + text, func(v float64) bool { return v >= limit }}
}

func exactly(want float64) target {
	return target{number(want), func(v float64) bool { return v == want }}
}

// show prints the tables. The error is errMissed if they say that.
func show(w io.Writer, tables []table) error {
	var err error
	for _, t := range tables {
		fmt.Fprintf(w, "\n%s\n\n", t.title)
		out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		line := []string{""}
		for _, c := range t.columns {
			line = append(line, c.name)
		}
		fmt.Fprintln(out, strings.Join(append(line, "target", "verdict"), "\t"))
		for _, r := range t.rows {
			line := []string{r.what}
			for _, cell := range r.cells {
				line = append(line, summary(cell))
			}
			verdict := r.verdict(t.columns)
			if verdict == missed {
				err = errMissed
			}
			fmt.Fprintln(out, strings.Join(append(line, r.target.text, verdict), "\t"))
		}
		out.Flush()
	}
	return err
}

const missed = "MISSED"

func (r row) verdict(columns []column) string {
	if r.target.text == "" {
		return ""
	}
	for i, c := range columns {
		if c.ours && !r.target.met(median(r.cells[i])) {
			return missed
		}
	}
	return "met"
}

// summary is the median, with the range if there is one.
func summary(values []float64) string {
	if len(values) == 0 {
		return "-"
	}
	low, high := number(slices.Min(values)), number(slices.Max(values))
	if low == high {
		return low
	}
	return fmt.Sprintf("%s (%s–%s)", number(median(values)), low, high)
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	if n == 0 {
		return 0
	}
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// number prints three digits or so, and thousands apart.
func number(v float64) string {
	switch {
	case v == float64(int64(v)) || v >= 100 || v <= -100:
		text := strconv.FormatFloat(v, 'f', 0, 64)
		for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
			text = text[:i] + "," + text[i:]
		}
		return text
	case v >= 10 || v <= -10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	default:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
}
