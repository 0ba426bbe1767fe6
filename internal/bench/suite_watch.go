package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sidestep-lb/sidestep/discovery/kube/kubetest"
)

// The work of the suite: one Service, and events to its slices.
const (
	sliceCount = 100
	perSlice   = 100
	endpoints  = sliceCount * perSlice
	// Even numbers, so that all endpoints are ready in the end.
	flips = 20
	// warmUp is how many flips go before those that count. To be measured, a
	// client gives all spare memory back to the system, and pays for getting it
	// again.
	warmUp    = 10
	noChanges = 10
	// pause is what lies between events that need not lead to anything one
	// could wait for. It is longer than any client takes for one.
	pause = 30 * time.Millisecond
	// patience is for one round of one client.
	patience = time.Minute
)

func watchSuite(ctx context.Context, o options) ([]table, error) {
	one, err := oneLargeService(ctx, o)
	if err != nil {
		return nil, err
	}
	many, err := manyTargets(ctx, o)
	if err != nil {
		return []table{one}, err
	}
	weights, err := weigh(ctx)
	return []table{one, many, weights}, err
}

// A watchRound is what one client does in one round.
type watchRound struct {
	firstCPU, firstWall time.Duration // to the first complete view
	latency, eventCPU   time.Duration // of an event that flips one endpoint
	noChangeCPU         time.Duration // of an event that changes nothing
	noChangePublished   int           // by all of those
	usable, afterFlip   int           // addresses in the view; and when one is not ready
	heap, rss           float64       // bytes an endpoint
}

func oneLargeService(ctx context.Context, o options) (table, error) {
	server := kubetest.StartTLS()
	defer server.Close()
	service, made := addService(server, 0, sliceCount, perSlice)
	rounds := make([][]watchRound, len(watchClients))
	for n := range o.rounds {
		for i, c := range watchClients {
			progress("watch: round %d of %d: %s", n+1, o.rounds, c.name)
			j := job{Client: c.name, API: api{server.URL(), server.CA()}, Services: []string{service}}
			if n == 0 {
				j.Profile = o.profilePath("watch", c)
			}
			r, err := watchOnce(ctx, server, made, j)
			if err != nil {
				return table{}, err
			}
			rounds[i] = append(rounds[i], r)
		}
	}
	return watchTable(rounds), nil
}

func (o options) profilePath(suite string, c watchClient) string {
	if o.profile == "" {
		return ""
	}
	return filepath.Join(o.profile, suite+"-"+c.program)
}

func watchOnce(ctx context.Context, server *kubetest.Server, made []kubetest.EndpointSlice, j job) (r watchRound, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	p, before, err := spawn(ctx, j)
	if err != nil {
		return r, err
	}
	defer func() { err = cmp.Or(err, p.end()) }()

	first, err := p.untilAll(endpoints)
	if err != nil {
		return r, err
	}
	r.firstCPU = first.CPU - before.CPU
	r.firstWall = time.Duration(first.At - before.At)
	r.usable = first.Usable
	if err := r.flipEndpoints(server, made, p); err != nil {
		return r, err
	}
	if err := r.changeNothing(server, made[0], p); err != nil {
		return r, err
	}
	after, err := p.ask(askMemory)
	r.heap = float64(after.Heap-before.Heap) / endpoints
	r.rss = float64(after.RSS-before.RSS) / endpoints
	return r, err
}

// flipEndpoints makes an endpoint unready and ready again, one slice after the
// other, and waits each time for the view with that change.
func (r *watchRound) flipEndpoints(server *kubetest.Server, made []kubetest.EndpointSlice, p *process) error {
	before, err := p.ask(askMemory) // begins without garbage
	if err != nil {
		return err
	}
	var latencies []float64
	for i := range warmUp + flips {
		if i == warmUp {
			if before, err = p.ask(askCPU); err != nil {
				return err
			}
		}
		ready, want := i%2 == 1, r.usable
		if !ready {
			want--
		}
		start := time.Now().UnixNano()
		setReady(server, made[i/2], i/2, ready)
		seen, err := p.until(func(p publication) bool { return p.Usable == want })
		if err != nil {
			return err
		}
		if !ready {
			r.afterFlip = seen.Usable
		}
		if i >= warmUp {
			latencies = append(latencies, float64(seen.At-start))
		}
	}
	after, err := p.ask(askCPU)
	r.latency = time.Duration(median(latencies))
	r.eventCPU = (after.CPU - before.CPU) / flips
	return err
}

// changeNothing sends slices that have but a new resourceVersion. A last event
// that does change something tells when all have been dealt with.
func (r *watchRound) changeNothing(server *kubetest.Server, slice kubetest.EndpointSlice, p *process) error {
	before, err := p.ask(askCPU)
	if err != nil {
		return err
	}
	published := len(p.published)
	for range noChanges {
		server.SetEndpointSlice(slice)
		time.Sleep(pause)
	}
	after, err := p.ask(askCPU)
	if err != nil {
		return err
	}
	setReady(server, slice, 0, false)
	if _, err := p.until(func(p publication) bool { return p.Usable == r.usable-1 }); err != nil {
		return err
	}
	r.noChangePublished = len(p.published) - published - 1
	r.noChangeCPU = (after.CPU - before.CPU) / noChanges
	setReady(server, slice, 0, true)
	_, err = p.until(func(p publication) bool { return p.Usable == r.usable })
	return err
}

func watchTable(rounds [][]watchRound) table {
	t := table{title: fmt.Sprintf("One Service of %s endpoints in %d slices, over HTTPS:", number(endpoints), sliceCount)}
	for _, c := range watchClients {
		t.columns = append(t.columns, c.column)
	}
	add := func(what string, target target, figure func(watchRound) float64) {
		r := row{what: what, target: target}
		for _, of := range rounds {
			var cell []float64
			for _, round := range of {
				cell = append(cell, figure(round))
			}
			r.cells = append(r.cells, cell)
		}
		t.rows = append(t.rows, r)
	}
	add("first complete view: CPU, s", atMost(0.5, "0.5"), func(r watchRound) float64 { return r.firstCPU.Seconds() })
	add("first complete view: time, s", target{}, func(r watchRound) float64 { return r.firstWall.Seconds() })
	add("one endpoint flips: time to the new view, ms", atMost(5, "5"), func(r watchRound) float64 { return ms(r.latency) })
	add("one endpoint flips: CPU, ms", atMost(5, "5"), func(r watchRound) float64 { return ms(r.eventCPU) })
	add(fmt.Sprintf("%d events change nothing: publications", noChanges), exactly(0), func(r watchRound) float64 { return float64(r.noChangePublished) })
	add("an event changes nothing: CPU, ms", target{}, func(r watchRound) float64 { return ms(r.noChangeCPU) })
	add("addresses in the view", exactly(endpoints), func(r watchRound) float64 { return float64(r.usable) })
	add("the same when one is not ready", exactly(endpoints-1), func(r watchRound) float64 { return float64(r.afterFlip) })
	add("heap in use, bytes an endpoint", atMost(1000, "1,000"), func(r watchRound) float64 { return r.heap })
	add("resident, bytes an endpoint", atMost(1000, "1,000"), func(r watchRound) float64 { return r.rss })
	return t
}

func ms(d time.Duration) float64 { return d.Seconds() * 1000 }

func progress(format string, values ...any) {
	fmt.Fprintln(os.Stderr, strings.TrimSpace(fmt.Sprintf(format, values...)))
}
