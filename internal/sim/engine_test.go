package main

import (
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"
)

func TestEventsRunByTimeAndThenInTheOrderOfPlanning(t *testing.T) {
	var e engine
	var ran []int
	for i, at := range []int64{30, 10, 20, 10, 30, 0} {
		e.at(at, func() { ran = append(ran, i) })
	}
	e.at(10, func() { e.at(5, func() { ran = append(ran, 99) }) }) // in the past: now, after those planned before
	for e.step(30) {
	}
	if want := []int{5, 1, 3, 99, 2, 0, 4}; !reflect.DeepEqual(ran, want) {
		t.Errorf("ran %v, want %v", ran, want)
	}
	if e.now != 30 {
		t.Errorf("it is %d, want 30", e.now)
	}
}

func TestEventsAfterTheEndDoNotRun(t *testing.T) {
	var e engine
	e.at(31, func() { t.Error("ran") })
	if e.step(30) {
		t.Error("there was something to do")
	}
}

func TestTheHeapSortsWhateverComes(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var h eventHeap
	for i := range 1000 {
		h.push(event{at: random.Int64N(100), order: uint64(i)})
		if i%3 == 0 {
			h.pop()
		}
	}
	for last := h.pop(); len(h) > 0; {
		next := h.pop()
		if next.before(&last) {
			t.Fatalf("%v after %v", next, last)
		}
		last = next
	}
}

func TestTheSameSeedGivesTheSameRun(t *testing.T) {
	s := thin(faulty(3, func(s *server) { s.failing = 0.5 }).retrying(), 0.05)
	for _, k := range everybody(guardedPeers(), ours(), []contestant{budgeted(sidestep("adaptive"))}) {
		first, second, other := simulate(s, k, 7), simulate(s, k, 7), simulate(s, k, 8)
		if !reflect.DeepEqual(first.samples, second.samples) || !reflect.DeepEqual(first.picks, second.picks) {
			t.Errorf("%s: two runs with one seed differ", k.name)
		}
		if reflect.DeepEqual(first.samples, other.samples) {
			t.Errorf("%s: two seeds give one run", k.name)
		}
	}
}

func TestAllPoliciesMeetTheSameRequests(t *testing.T) {
	s := thin(service(5, 0.5), 0.2)
	a, b := simulate(s, roundRobinPeer, 1), simulate(s, sidestep("adaptive"), 1)
	if len(a.samples) != len(b.samples) {
		t.Fatalf("%d and %d requests", len(a.samples), len(b.samples))
	}
	for i := range a.samples {
		if a.samples[i].at != b.samples[i].at {
			t.Fatalf("request %d arrives at %d and %d", i, a.samples[i].at, b.samples[i].at)
		}
	}
}

// Queues of which theory knows the mean time: one server with exponential
// service times, and one (M/M/1) or four (M/M/4, Erlang's C) workers.
func TestQueuesAreAsLongAsTheorySays(t *testing.T) {
	const mean = 10 * time.Millisecond
	for _, workers := range []int{1, 4} {
		for _, load := range []float64{0.3, 0.5, 0.7} {
			rate := load * float64(workers) / mean.Seconds()
			r := simulate(setup{
				servers: 1, workers: workers, clients: 1, demand: exponential(mean), rate: steady(rate),
				length: time.Duration(60_000 / rate * float64(time.Second)),
			}, roundRobinPeer, 1)
			sum := 0.0
			for _, s := range r.samples {
				sum += time.Duration(s.latency).Seconds()
			}
			got := sum / float64(len(r.samples))
			want := mean.Seconds() * (1 + erlangC(workers, load)/(float64(workers)*(1-load)))
			if math.Abs(got-want) > 0.06*want {
				t.Errorf("%d workers, load %.1f: mean time %.2f ms, want %.2f", workers, load, 1e3*got, 1e3*want)
			}
		}
	}
}

// erlangC is the probability that a request has to wait.
func erlangC(workers int, load float64) float64 {
	a, term, sum := load*float64(workers), 1.0, 0.0
	for k := range workers {
		sum += term
		term *= a / float64(k+1)
	}
	return term / (1 - load) / (sum + term/(1-load))
}

// thin is a set-up with fewer requests.
func thin(s setup, factor float64) setup {
	rate := s.rate
	s.rate = func(at time.Duration) float64 { return factor * rate(at) }
	return s
}
