package adapter_test

import (
	"container/heap"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/adapter"
	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/health"
)

// traffic is requests that come at a steady rate, whether others are done or not.
type traffic struct {
	every   time.Duration
	request adapter.Request
	serve   func(*adapter.Backend) (time.Duration, health.Outcome)
}

// An appointment is something to be done at a moment of virtual time.
type appointment struct {
	at time.Time
	do func()
}

type appointments []appointment

func (a appointments) Len() int           { return len(a) }
func (a appointments) Less(i, j int) bool { return a[i].at.Before(a[j].at) }
func (a appointments) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }
func (a *appointments) Push(x any)        { *a = append(*a, x.(appointment)) }
func (a *appointments) Pop() any {
	last := (*a)[len(*a)-1]
	*a = (*a)[:len(*a)-1]
	return last
}

// A stage plays traffic in virtual time, in one goroutine. Requests that are under
// way when a play ends go on in the next one.
type stage struct {
	*adapter.Balancer
	queue appointments
	watch func() // called after each event, if set
}

func (s *stage) at(when time.Time, do func()) { heap.Push(&s.queue, appointment{when, do}) }

// play lets traffic come for that long, and returns how many requests of each kind
// each backend got.
func (s *stage) play(t *testing.T, d time.Duration, kinds ...traffic) []map[*adapter.Backend]int {
	t.Helper()
	end, over := time.Now().Add(d), false
	defer func() { over = true }() // what is queued comes no more
	got := make([]map[*adapter.Backend]int, len(kinds))
	for i, kind := range kinds {
		got[i] = map[*adapter.Backend]int{}
		var next func()
		next = func() {
			if over {
				return
			}
			s.at(time.Now().Add(kind.every), next)
			p, err := s.Pick(kind.request)
			if err != nil {
				t.Errorf("pick: %v", err)
				return
			}
			be := p.Backend()
			got[i][be]++
			latency, outcome := kind.serve(be)
			s.at(time.Now().Add(latency), func() { p.Done(adapter.Result{Outcome: outcome}) })
		}
		s.at(time.Now().Add(kind.every), next)
	}
	for len(s.queue) > 0 && !s.queue[0].at.After(end) {
		a := heap.Pop(&s.queue).(appointment)
		time.Sleep(time.Until(a.at)) // of virtual time
		synctest.Wait()
		a.do()
		if s.watch != nil {
			s.watch()
		}
	}
	pass(time.Until(end))
	return got
}

// onStage runs a test in virtual time with a Balancer whose chance is the same in each
// run. Its n backends have all answered once.
func onStage(t *testing.T, config balancer.Config, n int, f func(t *testing.T, s *stage)) {
	t.Helper()
	onStageOf(t, config, endpoints(0, n), f)
}

func onStageOf(t *testing.T, config balancer.Config, all []discovery.Endpoint, f func(t *testing.T, s *stage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b, err := adapter.New(config, adapter.Hooks{Connect: connect, Random: chance(1)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Close)
		b.Update(all)
		prove(t, b)
		f(t, &stage{Balancer: b})
	})
}

// chance returns a source of random numbers that many may use.
func chance(seed uint64) func() uint64 {
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(seed, seed))
	return func() uint64 {
		mu.Lock()
		defer mu.Unlock()
		return random.Uint64()
	}
}

// around returns a latency between a half of d and one and a half.
func around(random *rand.Rand, d time.Duration) time.Duration {
	return d/2 + time.Duration(random.Int64N(int64(d)))
}

// fast is requests that each backend answers in about 10 ms.
func fast(every time.Duration) traffic {
	random := rand.New(rand.NewPCG(2, 2))
	return traffic{every: every, serve: func(*adapter.Backend) (time.Duration, health.Outcome) {
		return around(random, 10*time.Millisecond), health.Success
	}}
}

// whose returns the backend of the k-th endpoint.
func whose(t *testing.T, b *adapter.Balancer, k int) *adapter.Backend {
	t.Helper()
	for _, be := range b.Backends() {
		if be.Endpoint().Addr == endpoints(k, 1)[0].Addr {
			return be
		}
	}
	t.Fatalf("there is no backend %d", k)
	return nil
}

// state returns what the status says of a backend.
func state(b *adapter.Balancer, be *adapter.Backend) balancer.State {
	for _, s := range b.Status().Backends {
		if s.Addr == be.Endpoint().Addr {
			return s.State
		}
	}
	return ""
}

func sum(got map[*adapter.Backend]int) (n int) {
	for _, k := range got {
		n += k
	}
	return n
}

// ofFair returns how many times its fair share one of n backends got.
func ofFair(got map[*adapter.Backend]int, be *adapter.Backend, n int) float64 {
	return float64(got[be]*n) / float64(max(sum(got), 1))
}
