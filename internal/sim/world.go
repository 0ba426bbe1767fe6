package main

import (
	"math/rand/v2"
	"time"
)

// A setup is what is simulated, but for the policy.
type setup struct {
	servers, workers int
	limit            int // of a server's queue; 0 for none
	demand           demand
	clients          int
	rate             func(at time.Duration) float64 // requests a second, of all clients
	key              func(*rand.Rand) uint64        // of a request; nil for none
	kinds            []kind                         // of requests, if there are several
	zones            zones                          // where clients and servers are, if that matters

	deadline time.Duration // of a request; 0 for none
	perTry   time.Duration // of an attempt; 0 for the deadline alone
	attempts int           // of a request, at most; 0 for one

	story        func(w *world) // what happens to the servers
	from, length time.Duration  // measured are the requests that arrive between these
	watch        int            // the server whose share is plotted
}

// A demand is a distribution of service times.
type demand struct {
	mean time.Duration
	draw func(*rand.Rand) float64 // in units of the mean
}

func exponential(mean time.Duration) demand {
	return demand{mean, (*rand.Rand).ExpFloat64}
}

// steady is a rate that does not change.
func steady(rate float64) func(time.Duration) float64 {
	return func(time.Duration) float64 { return rate }
}

// A world is one run of a set-up.
type world struct {
	engine
	setup   setup
	servers []*server // all that there have ever been, by id
	listed  []*server // those that clients know of; others hold it, so it never changes in place
	clients []*client
	record  *record
	seed    uint64
	arrival *rand.Rand
	demands *rand.Rand
	kinds   *rand.Rand
}

// Streams of chance, one for each purpose, so that all policies meet the same
// requests.
const (
	streamArrivals = 1 + iota
	streamDemands
	streamFaults
	streamStory
	streamPolicy // the first of as many as there are clients

	streamKinds = 1 << 32 // beyond those of all clients
)

func (w *world) stream(id uint64) *rand.Rand {
	return rand.New(rand.NewPCG(w.seed, id)) //nolint:gosec // the same seed shall give the same run
}

func newWorld(s setup, k contestant, seed uint64) *world {
	w := &world{setup: s, seed: seed, record: newRecord(s)}
	w.arrival, w.demands, w.kinds = w.stream(streamArrivals), w.stream(streamDemands), w.stream(streamKinds)
	faults := w.stream(streamFaults)
	for range s.servers {
		w.listed = append(w.listed, w.addServer(faults))
	}
	for i := range s.clients {
		c := &client{id: i, zone: s.zones.ofClient(i), world: w, policy: k.policy(w, w.stream(streamPolicy+uint64(i)))}
		if k.budget != nil {
			c.budget = k.budget(w)
		}
		if p, ok := c.policy.(*product); ok {
			p.zone = c.zone
		}
		c.policy.update(w.listed)
		w.clients = append(w.clients, c)
	}
	return w
}

func (w *world) addServer(faults *rand.Rand) *server {
	id := len(w.servers)
	s := &server{
		id: id, zone: w.setup.zones.ofServer(id), engine: &w.engine, chance: faults,
		workers: w.setup.workers, limit: w.setup.limit,
	}
	w.servers = append(w.servers, s)
	return s
}

// simulate returns the record of one run.
func simulate(s setup, k contestant, seed uint64) *record {
	w := newWorld(s, k, seed)
	if s.story != nil {
		s.story(w)
	}
	w.arrive()
	// Who has not been answered half a minute after the last arrival counts with
	// the time waited so far.
	for end := int64(s.length + 30*time.Second); w.record.open > 0 || w.now < int64(s.length); {
		if !w.step(end) {
			break
		}
	}
	w.record.close(w.now)
	return w.record
}

// arrive plans the next arrival. Arrivals do not wait for answers: what a
// server makes wait is not spared the requests of those who would have come.
func (w *world) arrive() {
	gap := w.arrival.ExpFloat64() / w.setup.rate(time.Duration(w.now))
	at := w.now + int64(gap*float64(time.Second))
	if at >= int64(w.setup.length) {
		w.at(int64(w.setup.length), func() {})
		return
	}
	w.at(at, func() {
		r := w.newRequest(w.clients[w.arrival.IntN(len(w.clients))], w.drawKind())
		if w.setup.key != nil {
			r.key = w.setup.key(w.demands)
		}
		r.client.send(r)
		w.arrive()
	})
}
