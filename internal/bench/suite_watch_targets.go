package main

import (
	"context"
	"fmt"
	"time"

	"github.com/sidestep-lb/sidestep/discovery/kube/kubetest"
)

// The other work of the suite: many Services, watched by one process.
const (
	targets      = 1000
	perTarget    = 3
	watchesQuiet = time.Second // that no watch comes or goes means that all are there
)

// A targetsRound is what one client needs for all targets.
type targetsRound struct {
	cpu                                time.Duration
	usable                             int
	goroutines, sockets                int
	heap, rss                          int64
	lists, listWatches, open, services int
}

func manyTargets(ctx context.Context, o options) (table, error) {
	var rounds []targetsRound
	for _, c := range watchClients {
		progress("watch: %d targets: %s", targets, c.name)
		r, err := manyTargetsOnce(ctx, c, o.profilePath("targets", c))
		if err != nil {
			return table{}, err
		}
		rounds = append(rounds, r)
	}
	return targetsTable(rounds), nil
}

func manyTargetsOnce(ctx context.Context, c watchClient, profile string) (targetsRound, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	server := kubetest.StartTLS()
	defer server.Close()
	j := job{Client: c.name, API: api{server.URL(), server.CA()}, Profile: profile}
	for i := range targets {
		name, _ := addService(server, i, 1, perTarget)
		j.Services = append(j.Services, name)
	}
	p, before, err := spawn(ctx, j)
	if err != nil {
		return targetsRound{}, err
	}
	last, err := p.untilAll(targets * perTarget)
	if err != nil {
		_ = p.end()
		return targetsRound{}, err
	}
	open := settledWatches(server)
	after, err := p.ask(askMemory)
	if err != nil {
		_ = p.end()
		return targetsRound{}, err
	}
	return targetsRound{
		cpu:         last.CPU - before.CPU,
		goroutines:  after.Goroutines - before.Goroutines,
		sockets:     after.Sockets - before.Sockets,
		heap:        after.Heap - before.Heap,
		rss:         after.RSS - before.RSS,
		lists:       server.Count(kubetest.List, kubetest.EndpointSlices),
		listWatches: server.Count(kubetest.Watch, kubetest.EndpointSlices),
		services:    server.Count(kubetest.Any, kubetest.Services),
		open:        open,
	}, p.end()
}

// settledWatches returns how many watches there are once that stays as it is.
func settledWatches(server *kubetest.Server) int {
	n := server.Watches()
	for since := time.Now(); time.Since(since) < watchesQuiet; time.Sleep(watchesQuiet / 50) {
		if now := server.Watches(); now != n {
			n, since = now, time.Now()
		}
	}
	return n
}

func targetsTable(rounds []targetsRound) table {
	t := table{title: fmt.Sprintf("%s targets of %d endpoints each in one process, over HTTPS, measured once:", number(targets), perTarget)}
	for _, c := range watchClients {
		t.columns = append(t.columns, c.column)
	}
	add := func(what string, figure func(targetsRound) float64) {
		r := row{what: what}
		for _, round := range rounds {
			r.cells = append(r.cells, []float64{figure(round)})
		}
		t.rows = append(t.rows, r)
	}
	add("first views of all: CPU, s", func(r targetsRound) float64 { return r.cpu.Seconds() })
	add("goroutines", func(r targetsRound) float64 { return float64(r.goroutines) })
	add("heap in use, MB", func(r targetsRound) float64 { return float64(r.heap) / 1e6 })
	add("resident, MB", func(r targetsRound) float64 { return float64(r.rss) / 1e6 })
	add("connections", func(r targetsRound) float64 { return float64(r.sockets) })
	add("API requests: LIST of slices", func(r targetsRound) float64 { return float64(r.lists) })
	add("API requests: WATCH of slices", func(r targetsRound) float64 { return float64(r.listWatches) })
	add("API requests: Services", func(r targetsRound) float64 { return float64(r.services) })
	add("open watches", func(r targetsRound) float64 { return float64(r.open) })
	return t
}
