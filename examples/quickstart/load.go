package main

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// A way is one way for a client to reach the Service.
type way struct {
	name    string
	ours    bool // over the SDK: a failed request fails the program
	ask     func(ctx context.Context) (pod string, err error)
	results results
}

// A result is what became of one request.
type result struct {
	began time.Time
	took  time.Duration
	pod   string // who answered
	err   error
}

// results collects what became of the requests of one way.
type results struct {
	mu  sync.Mutex
	all []result // guarded by mu
}

func (r *results) add(one result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, one)
}

// between returns the results of requests that began in the span.
func (r *results) between(from, to time.Time) []result {
	r.mu.Lock()
	defer r.mu.Unlock()
	var some []result
	for _, one := range r.all {
		if !one.began.Before(from) && one.began.Before(to) {
			some = append(some, one)
		}
	}
	return some
}

// requestTimeout is each request's deadline.
const requestTimeout = time.Second

// drive sends requests over every way at the given rate until ctx ends, and
// returns when the last of them is answered. A slow answer delays no later
// request.
func drive(ctx context.Context, ways []*way, rate int) {
	var requests sync.WaitGroup
	defer requests.Wait()
	ticker := time.NewTicker(time.Second / time.Duration(rate))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			for _, w := range ways {
				requests.Go(func() { w.request() })
			}
		}
	}
}

func (w *way) request() {
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	began := time.Now()
	pod, err := w.ask(ctx)
	w.results.add(result{began: began, took: time.Since(began), pod: pod, err: err})
}

// A death is the moment at which a pod died with requests in flight on it,
// which no client can save.
type death struct{ from, to time.Time }

// A count sums up results.
type count struct {
	requests, failed, lost int
	pods                   map[string]int
	sample                 error // one of the failures
}

// summarize counts results. A failed request that was under way when a pod died
// is lost, the others failed.
func summarize(results []result, deaths []death) count {
	c := count{requests: len(results), pods: map[string]int{}}
	for _, r := range results {
		underway := func(d death) bool { return r.began.Before(d.to) && r.began.Add(r.took).After(d.from) }
		switch {
		case r.err == nil:
			c.pods[r.pod]++
		case slices.ContainsFunc(deaths, underway):
			c.lost++
		default:
			c.failed++
			c.sample = r.err
		}
	}
	return c
}

// largestShare returns the part of all answers that the busiest pod gave.
func (c count) largestShare() float64 {
	answers := c.requests - c.failed - c.lost
	if answers == 0 {
		return 0
	}
	return float64(slices.Max(slices.Collect(maps.Values(c.pods)))) / float64(answers)
}
