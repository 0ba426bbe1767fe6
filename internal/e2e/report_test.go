package e2e_test

import (
	"fmt"
	"io"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/sidestep-lb/sidestep/examples/client/result"
)

// A report is a table of what was measured: a row per figure of a scene, a
// column per way.
type report struct {
	caption string
	columns []way
	rows    []row
}

type row struct {
	scene  string
	target string
	cells  map[string]string // by the title of the way
}

// A measure is what a scene yields for one way.
type measure struct {
	value  float64
	text   string
	wanted float64 // value should not be larger
	fatal  float64 // if it is larger than this, the test fails
	judged bool    // false where nothing is demanded
}

// add adds a row. A measure of the SDK's is judged: it misses its target, or
// fails the test.
func (r *report) add(t *testing.T, scene, target string, of []way, measures []measure) {
	t.Helper()
	line := row{scene: scene, target: target, cells: make(map[string]string)}
	for i, w := range of {
		m := measures[i]
		cell := m.text
		if w.sidestep() && m.judged {
			if m.value <= m.wanted {
				cell += " ok"
			} else {
				cell += " MISSED"
			}
			if m.value > m.fatal {
				t.Errorf("%s: %s: %s", scene, w.title, m.text)
			}
		}
		line.cells[w.title] = cell
		t.Logf("%-60s %-15s %s", scene, w.title, cell)
	}
	r.rows = append(r.rows, line)
}

// print prints the whole table, if there is something in it. One with many
// columns is printed in two halves.
func (r *report) print(out io.Writer) {
	if len(r.rows) == 0 {
		return
	}
	fmt.Fprintf(out, "\n%s\n\n", r.caption)
	halves := [][]way{r.columns}
	if n := len(r.columns); n > 6 {
		halves = [][]way{r.columns[:n/2], r.columns[n/2:]}
	}
	for _, columns := range halves {
		table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		fmt.Fprint(table, "scene\ttarget")
		for _, w := range columns {
			fmt.Fprint(table, "\t"+w.title)
		}
		for _, line := range r.rows {
			fmt.Fprint(table, "\n"+line.scene+"\t"+line.target)
			for _, w := range columns {
				fmt.Fprint(table, "\t"+line.cells[w.title])
			}
		}
		fmt.Fprintln(table)
		table.Flush()
		fmt.Fprintln(out)
	}
}

// never is the time of what did not happen.
const never = time.Hour

// within measures a time against its limit, and is patient up to three times
// of it, for machines that are short of processors.
func within(d, limit time.Duration) measure {
	d = max(d, 0)
	m := measure{value: d.Seconds(), text: fmt.Sprintf("%.2f s", d.Seconds()), wanted: limit.Seconds(), fatal: 3 * limit.Seconds(), judged: true}
	if d >= never {
		m.text = "never"
	}
	return m
}

// none measures a count that must be 0.
func none(n int, note string) measure {
	return measure{value: float64(n), text: fmt.Sprintf("%d%s", n, note), judged: true}
}

// and adds a count that must be 0, and is told only where it is not.
func (m measure) and(n int, what string) measure {
	if n > 0 {
		m.text += fmt.Sprintf(", %d %s", n, what)
		m.value = max(m.value, 2*m.fatal+1)
	}
	return m
}

// explain logs why requests failed, and how well the clients kept their time.
func explain(t *testing.T, of []way, results []*result.Result) {
	t.Helper()
	late := 0.0
	for i, r := range results {
		for kind, k := range r.Kinds {
			t.Logf("%s: %d of %d failed: %s, first: %s", of[i].title, k.Count, r.Requests, kind, k.First)
		}
		late = max(late, r.LateBetween(r.Started, r.Ended))
	}
	t.Logf("requests were sent up to %.0f ms late", late)
}
