package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// A view shows what happens: a table that is redrawn on a terminal, and the
// last state of each scene elsewhere.
type view struct {
	out      *os.File
	terminal bool
	cluster  *cluster
	ways     []*way
	lines    int // that the table on the terminal takes
}

func newView(out *os.File, c *cluster, ways []*way) *view {
	info, err := out.Stat()
	return &view{
		out:      out,
		terminal: err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb",
		cluster:  c,
		ways:     ways,
	}
}

func (v *view) begin(name string) {
	fmt.Fprintf(v.out, "\n%s\n", name)
	v.lines = 0
}

// watch redraws the table until d has passed.
func (v *view) watch(ctx context.Context, d time.Duration) error {
	end := time.After(d)
	ticker := time.NewTicker(250 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-end:
			return nil
		case <-ticker.C:
			if v.terminal {
				v.draw()
			}
		}
	}
}

func (v *view) end() { v.draw() }

// draw shows each pod with its share of the answers of the last second.
func (v *view) draw() {
	now := time.Now()
	counts := make([]count, len(v.ways))
	for i, w := range v.ways {
		counts[i] = summarize(w.results.between(now.Add(-time.Second), now), nil)
	}
	text := table(func(w io.Writer) {
		fmt.Fprint(w, "pod\tstate\tin flight")
		for _, way := range v.ways {
			fmt.Fprintf(w, "\t%s", way.name)
		}
		fmt.Fprintln(w)
		for _, p := range v.cluster.snapshot() {
			fmt.Fprintf(w, "%s\t%s\t%d", p.name, p.state, p.inFlight)
			for _, c := range counts {
				fmt.Fprintf(w, "\t%s", percent(float64(c.pods[p.name]), float64(c.requests)))
			}
			fmt.Fprintln(w)
		}
		fmt.Fprint(w, "failed\t\t")
		for _, c := range counts {
			fmt.Fprintf(w, "\t%s", percent(float64(c.failed), float64(c.requests)))
		}
		fmt.Fprintln(w)
	})
	if v.terminal && v.lines > 0 {
		fmt.Fprintf(v.out, "\x1b[%dA\x1b[J", v.lines)
	}
	fmt.Fprint(v.out, text)
	v.lines = strings.Count(text, "\n")
}

// summary prints the result of each way, and returns how many requests over the
// SDK failed.
func (v *view) summary(spans []span) (failed int) {
	deaths := v.cluster.allDeaths()
	fmt.Fprint(v.out, "\nLargest share of one pod at the end of each scene (even would be 33 %, 17 %, 17 %, 20 %, 25 %)\n\n")
	fmt.Fprint(v.out, table(func(w io.Writer) {
		fmt.Fprint(w, "way\trequests\tfailed\tlost in flight")
		for _, s := range spans {
			fmt.Fprintf(w, "\t%s", s.scene.name)
		}
		fmt.Fprintln(w)
		for _, way := range v.ways {
			c := summarize(way.results.between(time.Time{}, time.Now()), deaths)
			fmt.Fprintf(w, "%s\t%d\t%d\t%d", way.name, c.requests, c.failed, c.lost)
			for _, s := range spans {
				last := summarize(way.results.between(s.to.Add(-time.Second), s.to), deaths)
				fmt.Fprintf(w, "\t%.0f %%", 100*last.largestShare())
			}
			fmt.Fprintln(w)
		}
	}))
	for _, way := range v.ways {
		c := summarize(way.results.between(time.Time{}, time.Now()), deaths)
		if c.sample != nil {
			fmt.Fprintf(v.out, "\n%s, one of the failures: %v\n", way.name, c.sample)
		}
		if way.ours {
			failed += c.failed
		}
	}
	fmt.Fprintln(v.out, "\n\"Lost in flight\" were under way on a pod when it died.")
	return failed
}

func percent(part, whole float64) string {
	if part == 0 || whole == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f %%", 100*part/whole)
}

func table(write func(io.Writer)) string {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	write(w)
	_ = w.Flush() // a strings.Builder takes everything
	return text.String()
}

// A podView is a pod at one moment.
type podView struct {
	name     string
	state    podState
	inFlight int64
}

func (c *cluster) snapshot() []podView {
	c.mu.Lock()
	defer c.mu.Unlock()
	views := make([]podView, len(c.pods))
	for i, p := range c.pods {
		views[i] = podView{p.name, p.state, p.inFlight.Load()}
	}
	return views
}

func (c *cluster) allDeaths() []death {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.deaths)
}
