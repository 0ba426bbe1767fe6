package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// webClients are those of the suite, by their names in ./web. bufbuild/httplb
// belongs here, too, when its module can be had from the module proxy.
var webClients = []column{{"sidestep", true}, {"http.Transport", false}, {"Kratos", false}}

// A webRow is a figure that ./web measures.
type webRow struct {
	measure, figure, what string
	target                target
	all                   bool // http.Transport, which knows one backend, has it, too
}

var webRows = []webRow{
	{"overhead", "memory CPU", "a request, answered from memory: CPU, µs", target{}, true},
	{"overhead", "memory more CPU", "more than http.Transport: CPU, µs", atMost(1.5, "1.5"), false},
	{"overhead", "memory more CPU, context", "the same with a context that may end: CPU, µs", atMost(1.5, "1.5"), false},
	{"overhead", "memory more allocs", "more than http.Transport: allocations", atMost(3, "3"), false},
	{"overhead", "memory more allocs, context", "the same with a context that may end: allocations", atMost(3, "3"), false},
	{"overhead", "loopback CPU", "a request over loopback, with the server: CPU, µs", target{}, true},
	{"overhead", "loopback more CPU", "more than http.Transport: CPU, µs", target{}, false},
	{"scale", "settle CPU", "10,000 backends settle: CPU, s", atMost(1, "1"), false},
	{"scale", "first answer", "10,000 backends: first answer after, s", target{}, false},
	{"scale", "memory", "a backend that was never dialled: heap, bytes", atMost(1024, "1,024"), false},
	{"scale", "more goroutines", "10,000 backends: goroutines", atMost(16, "16"), false},
	{"change", "change", "one of 4,000 backends replaced: CPU, ms", atMost(0.2, "0.2"), false},
	{"dead", "failed", "one of 4 backends refuses connections: failed of 400", exactly(0), false},
}

func httpSuite(ctx context.Context, o options) ([]table, error) {
	scratch, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(scratch)
	program := filepath.Join(scratch, "web")
	progress("building ./web")
	if _, err := goTool(ctx, "build", "-o", program, "./web"); err != nil {
		return nil, err
	}
	t := table{title: "HTTP clients that balance, beside one that does not:", columns: webClients}
	for _, r := range webRows {
		t.rows = append(t.rows, row{what: r.what, target: r.target, cells: make([][]float64, len(webClients))})
	}
	for n := range o.rounds {
		for i, c := range webClients {
			progress("http: round %d of %d: %s", n+1, o.rounds, c.name)
			measured := map[string]map[string]float64{}
			for k, r := range webRows {
				if !r.all && c.name == "http.Transport" {
					continue
				}
				if measured[r.measure] == nil {
					if measured[r.measure], err = measureWeb(ctx, program, c.name, r.measure); err != nil {
						return nil, err
					}
				}
				t.rows[k].cells[i] = append(t.rows[k].cells[i], measured[r.measure][r.figure])
			}
		}
	}
	return []table{t}, nil
}

// measureWeb measures in a process of its own.
func measureWeb(ctx context.Context, program, client, measure string) (map[string]float64, error) {
	cmd := exec.CommandContext(ctx, program, client, measure)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", client, measure, err)
	}
	var figures map[string]float64
	return figures, json.Unmarshal(out, &figures)
}
