package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/internal/bench/lb"
)

// rpcClients are those of the suite, by their names in ./rpc; the last is what
// the others are held against.
var rpcClients = []column{{"sidestep round_robin", true}, {"sidestep adaptive", true}, {lb.GRPCRoundRobin, false}}

var rpcBackends = []int{1, 100, 1000}

// An rpcRow is a figure that ./rpc measures, and how many times as much as the
// peer's it may be.
type rpcRow struct {
	figure, what string
	factor       float64 // 0 for no target; more than one is a limit, less than one what is to be reached
}

var rpcRows = []rpcRow{
	{"rate", "requests per second", 0.98},
	{"p50", "p50, µs", 1.02},
	{"p99", "p99, µs", 1.02},
	{"cpu", "CPU of the client for a request, µs", 0},
	{"allocs", "allocations of the client for a request", 1.02},
	{"bytes", "bytes allocated for a request", 0},
}

func grpcSuite(ctx context.Context, o options) ([]table, error) {
	l, err := openLab()
	if err != nil {
		return nil, err
	}
	defer l.close()
	program := filepath.Join(l.scratch, "rpc")
	progress("building ./rpc")
	if _, err := goTool(ctx, "build", "-o", program, "./rpc"); err != nil {
		return nil, err
	}
	var tables []table
	for _, n := range rpcBackends {
		t, err := rpcTable(ctx, program, n, o.rounds)
		if err != nil {
			return nil, err
		}
		tables = append(tables, t)
	}
	starts, err := startTable(ctx, l, o.rounds)
	return append(tables, starts), err
}

func rpcTable(ctx context.Context, program string, backends, rounds int) (table, error) {
	t := table{title: fmt.Sprintf("Requests over loopback, one after another on each of 4 goroutines, to %s servers:", number(float64(backends))), columns: rpcClients}
	servers, err := startServers(ctx, program, backends)
	if err != nil {
		return t, err
	}
	defer servers.stop()
	cells := make([][][]float64, len(rpcRows)) // by row, client and round
	for i := range cells {
		cells[i] = make([][]float64, len(rpcClients))
	}
	for n := range rounds {
		for k := range rpcClients {
			c := (k + n) % len(rpcClients) // nobody is always the first
			progress("grpc: %d servers: round %d of %d: %s", backends, n+1, rounds, rpcClients[c].name)
			figures, err := servers.measure(ctx, program, rpcClients[c].name)
			if err != nil {
				return t, err
			}
			for i, r := range rpcRows {
				cells[i][c] = append(cells[i][c], figures[r.figure])
			}
		}
	}
	for i, r := range rpcRows {
		made := row{what: r.what, cells: cells[i]}
		peer := median(cells[i][len(rpcClients)-1])
		switch {
		case r.factor > 1:
			made.target = atMost(r.factor*peer, fmt.Sprintf("%v × the peer's", r.factor))
		case r.factor > 0:
			made.target = atLeast(r.factor*peer, fmt.Sprintf("%v × the peer's", r.factor))
		}
		t.rows = append(t.rows, made)
	}
	return t, nil
}

// servers are a process that serves.
type servers struct {
	addresses []byte // as JSON
	stop      func()
}

func startServers(ctx context.Context, program string, n int) (*servers, error) {
	cmd := exec.CommandContext(ctx, program, "serve", strconv.Itoa(n))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	stop := func() {
		in.Close()
		_ = cmd.Wait() // it has served its purpose
	}
	var addresses json.RawMessage
	if err := json.NewDecoder(out).Decode(&addresses); err != nil {
		stop()
		return nil, fmt.Errorf("start %d servers: %w", n, err)
	}
	return &servers{addresses, stop}, nil
}

func (s *servers) measure(ctx context.Context, program, client string) (map[string]float64, error) {
	cmd := exec.CommandContext(ctx, program, "measure", client)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(s.addresses), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", client, err)
	}
	var figures map[string]float64
	return figures, json.Unmarshal(out, &figures)
}

// startBackends is how many endpoints a channel starts with.
const startBackends = 1000

// startTable is what a channel costs that starts with many endpoints, without a
// network.
func startTable(ctx context.Context, l *lab, rounds int) (table, error) {
	t := table{title: fmt.Sprintf("A channel with %s endpoints, whose connections succeed at once:", number(startBackends))}
	names := []string{balancer.RoundRobin, balancer.Adaptive, lb.GRPCRoundRobin}
	t.columns = rpcClients
	costs := make([][]lb.UpdateCost, len(names))
	for n := range rounds {
		for i, name := range names {
			progress("grpc: start: round %d of %d: %s", n+1, rounds, name)
			c, err := lb.Named(name)
			if err != nil {
				return t, err
			}
			r, err := l.measure(ctx, c, lb.Job{Backends: startBackends})
			if err != nil {
				return t, err
			}
			costs[i] = append(costs[i], *r.Updates)
		}
	}
	add := func(what string, target func(cells [][]float64) target, figure func(lb.UpdateCost) float64) {
		r := row{what: what}
		for _, of := range costs {
			var cell []float64
			for _, round := range of {
				cell = append(cell, figure(round))
			}
			r.cells = append(r.cells, cell)
		}
		r.target = target(r.cells)
		t.rows = append(t.rows, r)
	}
	limit := func(limit float64) func([][]float64) target {
		return func([][]float64) target { return atMost(limit, number(limit)) }
	}
	add("from none to all ready: allocations", func(cells [][]float64) target {
		return atMost(0.1*median(cells[len(cells)-1]), "0.1 × the peer's")
	}, func(c lb.UpdateCost) float64 { return float64(c.StartAllocs) })
	add("from none to all ready: pickers published", limit(50), func(c lb.UpdateCost) float64 { return float64(c.StartPublished) })
	add("the same list again: allocations", limit(100), func(c lb.UpdateCost) float64 { return float64(c.SameAllocs) })
	add("the same list again: pickers published", limit(0), func(c lb.UpdateCost) float64 { return c.SamePublished })
	return t, nil
}
