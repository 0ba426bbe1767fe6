package main

import (
	"fmt"
	"math"
	"os"
	"strings"
	"time"
)

// plot writes the first study of a scenario, with the first seed, second by
// second: the share of the server in question, and the latency that 99 % of the
// requests do not exceed.
func plot(path string, s *scenario) error {
	setup := s.studies[0].setup
	if s.studies[0].direct != nil {
		return fmt.Errorf("nothing happens over time in %s", s.id)
	}
	seconds := int(setup.length / time.Second)
	shares := chart{title: "share of the server in question, %", top: 20, seconds: seconds}
	tails := chart{title: "p99 of the requests of each second, ms, logarithmic", top: 360, seconds: seconds, log: true}
	for i, k := range s.contestants {
		r := simulate(setup, k, 1)
		shared, tail := line{name: k.name, colour: i}, line{name: k.name, colour: i}
		for second := range seconds {
			from, to := time.Duration(second)*time.Second, time.Duration(second+1)*time.Second
			shared.points = append(shared.points, 100*share(r.chosen(from, to), setup.watch))
			tail.points = append(tail.points, quantile(r.measured(from, to), 0.99))
		}
		shares.lines, tails.lines = append(shares.lines, shared), append(tails.lines, tail)
	}
	var svg strings.Builder
	fmt.Fprintf(&svg, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1100 720" font-family="sans-serif" font-size="12">`+"\n")
	fmt.Fprintf(&svg, `<rect width="1100" height="720" fill="white"/><text x="60" y="16" font-weight="bold">%s: %s</text>`+"\n", s.id, escape(s.title))
	shares.draw(&svg)
	tails.draw(&svg)
	svg.WriteString("</svg>\n")
	return os.WriteFile(path, []byte(svg.String()), 0o644) //nolint:gosec // a picture to look at
}

// A chart is one of two on a page, as wide as the page but for the legend.
type chart struct {
	title   string
	top     float64
	seconds int
	log     bool
	lines   []line
}

type line struct {
	name   string
	colour int
	points []float64 // one for each second; not a number where there is none
}

const (
	chartLeft, chartWidth, chartHeight = 60.0, 820.0, 280.0
	ticks                              = 5
)

// colours tell apart twelve lines, ours in bold.
var colours = []string{
	"#888888", "#c49c94", "#e377c2", "#9467bd", "#17becf", "#bcbd22", "#8c564b", "#1f77b4", "#d62728", "#ff7f0e", "#2ca02c", "#000000",
}

func (c *chart) draw(svg *strings.Builder) {
	low, high := c.bounds()
	y := func(v float64) float64 { return c.top + 20 + chartHeight*(1-(c.scale(v)-low)/(high-low)) }
	x := func(second float64) float64 { return chartLeft + chartWidth*second/float64(c.seconds) }
	fmt.Fprintf(svg, `<text x="%.0f" y="%.0f">%s</text>`+"\n", chartLeft, c.top+14, c.title)
	for i := range ticks + 1 {
		v := low + (high-low)*float64(i)/ticks
		if c.log {
			v = math.Pow(10, v)
		}
		fmt.Fprintf(svg, `<path d="M%.0f %.1fh%.0f" stroke="#ddd"/><text x="54" y="%.1f" text-anchor="end">%s</text>`+"\n", chartLeft, y(v), chartWidth, y(v)+4, number(v))
	}
	for second := 0; second <= c.seconds; second += 10 {
		fmt.Fprintf(svg, `<text x="%.1f" y="%.0f" text-anchor="middle">%d s</text>`+"\n", x(float64(second)), c.top+chartHeight+36, second)
	}
	for i, l := range c.lines {
		colour, width := colours[l.colour%len(colours)], 1.0
		if l.name == adaptive {
			width = 2.5
		}
		fmt.Fprintf(svg, `<polyline fill="none" stroke="%s" stroke-width="%.1f" points="`, colour, width)
		for second, v := range l.points {
			if !math.IsNaN(v) {
				fmt.Fprintf(svg, "%.1f,%.1f ", x(float64(second)+0.5), y(v))
			}
		}
		fmt.Fprintf(svg, `"/><text x="895" y="%.0f" fill="%s">%s</text>`+"\n", c.top+30+16*float64(i), colour, escape(l.name))
	}
}

// bounds are the lowest and the highest point, on the scale.
func (c *chart) bounds() (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, l := range c.lines {
		for _, v := range l.points {
			if !math.IsNaN(v) {
				low, high = min(low, c.scale(v)), max(high, c.scale(v))
			}
		}
	}
	if !c.log {
		low = 0
	}
	return low, max(high, low+1e-9)
}

func (c *chart) scale(v float64) float64 {
	if c.log {
		return math.Log10(max(v, 0.01))
	}
	return v
}

func escape(text string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(text)
}
