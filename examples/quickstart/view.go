package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
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
	log      *logLines
}

// logLines collects the lines of a log, which would spoil the tables.
type logLines struct {
	mu    sync.Mutex
	lines []string // guarded by mu
}

// Write implements io.Writer; a slog.Handler calls it once for each line.
func (l *logLines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, string(line))
	return len(line), nil
}

func (l *logLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "")
}

func newView(out *os.File, c *cluster, ways []*way) *view {
	fmt.Fprintln(out, "One Service, reached in several ways at once:")
	for i, w := range ways {
		fmt.Fprintf(out, "  %s  %s\n", letter(i), w.name)
	}
	fmt.Fprintln(out, "\nThe tables show each pod's share of the answers of the last second.")
	log := new(logLines)
	slog.SetDefault(slog.New(slog.NewTextHandler(log, nil)))
	info, err := out.Stat()
	return &view{
		log:      log,
		out:      out,
		terminal: err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb",
		cluster:  c,
		ways:     ways,
	}
}

// letter is the short name of a way; a table of the long ones would not fit a
// terminal.
func letter(i int) string { return string(rune('A' + i)) }

func (v *view) begin(number int, name string) {
	fmt.Fprintf(v.out, "\n%d. %s\n", number, name)
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
		for i := range v.ways {
			fmt.Fprintf(w, "\t%s", letter(i))
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
	fmt.Fprint(v.out, "\nRequests, and the largest share of one pod at the end of each scene\n")
	fmt.Fprint(v.out, table(func(w io.Writer) {
		fmt.Fprint(w, "\t\trequests\tfailed\tlost")
		for i := range spans {
			fmt.Fprintf(w, "\t%d.", i+1)
		}
		fmt.Fprintln(w)
		for i, way := range v.ways {
			c := summarize(way.results.between(time.Time{}, time.Now()), deaths)
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d", letter(i), way.name, c.requests, c.failed, c.lost)
			for _, s := range spans {
				last := summarize(way.results.between(s.to.Add(-time.Second), s.to), deaths)
				fmt.Fprintf(w, "\t%.0f %%", 100*last.largestShare())
			}
			fmt.Fprintln(w)
		}
		fmt.Fprint(w, "\tif all pods had the same\t\t\t")
		for _, s := range spans {
			fmt.Fprintf(w, "\t%.0f %%", 100/float64(s.ready))
		}
		fmt.Fprintln(w)
	}))
	fmt.Fprintln(v.out, "\nLost requests were under way on a pod when it died: no client can save those\nthat may not be sent twice.")
	fmt.Fprintf(v.out, "\nThe SDK's log:\n%s", v.log)
	for _, way := range v.ways {
		c := summarize(way.results.between(time.Time{}, time.Now()), deaths)
		if c.sample != nil {
			fmt.Fprintf(v.out, "\n%s, one of the failures: %v\n", way.name, c.sample)
		}
		if way.ours {
			failed += c.failed
		}
	}
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
