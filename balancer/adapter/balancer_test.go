package adapter_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/adapter"
	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/health"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type conn struct{ drained atomic.Int32 }

func (c *conn) Drain() { c.drained.Add(1) }

func connect(*adapter.Backend) adapter.Conn { return &conn{} }

func endpoints(first, n int) []discovery.Endpoint {
	all := make([]discovery.Endpoint, n)
	for i := range all {
		k := first + i
		all[i] = discovery.Endpoint{Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(k >> 16), byte(k >> 8), byte(k)}), 80), Ready: true, Serving: true}
	}
	return all
}

func newBalancer(t testing.TB, policy string, hooks adapter.Hooks) *adapter.Balancer {
	t.Helper()
	if hooks.Connect == nil {
		hooks.Connect = connect
	}
	b, err := adapter.New(balancer.Config{Policy: policy}, hooks)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// A request is one that was picked for.
type request struct {
	*adapter.Backend
	pick adapter.Pick
}

func (r *request) Done(o health.Outcome) { r.pick.Done(adapter.Result{Outcome: o}) }

func pick(t testing.TB, b *adapter.Balancer, tried ...*adapter.Backend) *request {
	t.Helper()
	p, err := b.Pick(adapter.Request{Tried: tried})
	if err != nil {
		t.Fatal(err)
	}
	return &request{p.Backend(), p}
}

func TestAnUnknownPolicyIsAnErrorThatNamesTheField(t *testing.T) {
	_, err := adapter.New(balancer.Config{Policy: "fastest"}, adapter.Hooks{Connect: connect})
	if err == nil {
		t.Fatal("no error")
	}
	for _, part := range []string{"policy", `"fastest"`, "adaptive, least_request"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q lacks %q", err, part)
		}
	}
}

func TestRoundRobinGivesEachItsTurn(t *testing.T) {
	b := newBalancer(t, balancer.RoundRobin, adapter.Hooks{})
	b.Update(endpoints(0, 7))
	counts := map[*adapter.Backend]int{}
	for range 7 * 100 {
		be := pick(t, b)
		counts[be.Backend]++
		be.Done(health.Success)
	}
	for be, n := range counts {
		if n != 100 {
			t.Errorf("%v got %d of 700 requests, want 100", be.Endpoint(), n)
		}
	}
	if len(counts) != 7 {
		t.Errorf("%d backends got requests, want 7", len(counts))
	}
}

func TestClientsGoRoundInDifferentOrders(t *testing.T) {
	orders := map[string]bool{}
	for seed := range uint64(20) {
		var mu sync.Mutex
		random := rand.New(rand.NewPCG(seed, 0))
		b := newBalancer(t, balancer.RoundRobin, adapter.Hooks{Random: func() uint64 {
			mu.Lock()
			defer mu.Unlock()
			return random.Uint64()
		}})
		b.Update(endpoints(0, 5))
		order := ""
		for range 5 {
			be := pick(t, b)
			order += be.Endpoint().String() + " "
			be.Done(health.Neutral)
		}
		orders[order] = true
	}
	if len(orders) < 10 {
		t.Errorf("20 clients have %d orders", len(orders))
	}
}

func TestLeastRequestNeverTakesTheBusierOfTwo(t *testing.T) {
	b := newBalancer(t, balancer.LeastRequest, adapter.Hooks{})
	b.Update(endpoints(0, 2))
	hung := pick(t, b)
	for range 1000 {
		be := pick(t, b)
		if be.Backend == hung.Backend {
			t.Fatal("picked the backend that hangs")
		}
		be.Done(health.Success)
	}
}

func TestLeastRequestDrawsEvenly(t *testing.T) {
	b := newBalancer(t, balancer.LeastRequest, adapter.Hooks{})
	b.Update(endpoints(0, 10))
	counts := map[*adapter.Backend]int{}
	for range 20_000 {
		be := pick(t, b)
		counts[be.Backend]++
		be.Done(health.Success)
	}
	for be, n := range counts { // σ ≈ 42
		if n < 1700 || n > 2300 {
			t.Errorf("%v got %d of 20000 requests, want about 2000", be.Endpoint(), n)
		}
	}
}

func TestStateSurvivesUpdates(t *testing.T) {
	for _, policy := range balancer.Policies() {
		t.Run(policy, func(t *testing.T) {
			b := newBalancer(t, policy, adapter.Hooks{})
			b.Update(endpoints(0, 1))
			be := pick(t, b)
			changed := endpoints(0, 3)
			changed[0].Zone = "za"
			b.Update(changed)
			if be.InFlight() != 1 || be.Left() || be.Endpoint().Zone != "za" {
				t.Errorf("after an update: in flight %d, left %t, zone %q", be.InFlight(), be.Left(), be.Endpoint().Zone)
			}
			be.Done(health.Success)
			if be.InFlight() != 0 {
				t.Errorf("in flight %d after Done", be.InFlight())
			}
		})
	}
}

func TestTheSameAddressUnderANewUIDIsANewBackend(t *testing.T) {
	b := newBalancer(t, "", adapter.Hooks{})
	pod := endpoints(0, 1)
	pod[0].UID = "one"
	b.Update(pod)
	first := pick(t, b)
	again := endpoints(0, 1)
	again[0].UID = "two"
	b.Update(again)
	if second := pick(t, b); second.Backend == first.Backend || !first.Left() || second.InFlight() != 1 {
		t.Error("a pod with a reused address inherited the state of the old one")
	}
}

func TestABackendThatLeftIsDrainedOnceAndNotPicked(t *testing.T) {
	b := newBalancer(t, "", adapter.Hooks{})
	b.Update(endpoints(0, 2))
	gone := b.Backends()[0]
	keep := []discovery.Endpoint{*b.Backends()[1].Endpoint()}
	b.Update(keep)
	b.Update(keep)
	if n := gone.Conn().(*conn).drained.Load(); n != 1 || !gone.Left() {
		t.Errorf("drained %d times, left %t; want once", n, gone.Left())
	}
	for range 100 {
		if pick(t, b).Backend == gone {
			t.Fatal("picked a backend that left")
		}
	}
	b.Update(nil)
	if _, err := b.Pick(adapter.Request{}); !errors.Is(err, balancer.ErrEmpty) {
		t.Errorf("Pick: %v, want ErrEmpty", err)
	}
}

func TestAnUnfitBackendIsPassedOverAtOnce(t *testing.T) {
	for _, policy := range balancer.Policies() {
		t.Run(policy, func(t *testing.T) {
			b := newBalancer(t, policy, adapter.Hooks{})
			b.Update(endpoints(0, 3))
			bad := pick(t, b)
			bad.Done(health.Unreachable)
			for range 100 {
				be := pick(t, b)
				if be.Backend == bad.Backend {
					t.Fatal("picked a backend right after it became unfit")
				}
				be.Done(health.Success)
			}
			bad.Observe(health.Success)
			waitFor(t, "it to come back", func() bool {
				be := pick(t, b)
				be.Done(health.Neutral)
				return be.Backend == bad.Backend
			})
		})
	}
}

func TestWhenNoneIsFitAllAreUsed(t *testing.T) {
	b := newBalancer(t, "", adapter.Hooks{})
	b.Update(endpoints(0, 3))
	for _, be := range b.Backends() {
		be.Observe(health.Unreachable)
	}
	seen := map[*adapter.Backend]bool{}
	waitFor(t, "all to be used", func() bool {
		seen[pick(t, b).Backend] = true
		return len(seen) == 3
	})
}

func TestConnectFirstPicksNoneBeforeItIsConnected(t *testing.T) {
	b := newBalancer(t, "", adapter.Hooks{ConnectFirst: true})
	b.Update(endpoints(0, 3))
	if _, err := b.Pick(adapter.Request{}); !errors.Is(err, balancer.ErrNoneFit) {
		t.Fatalf("Pick: %v, want ErrNoneFit", err)
	}
	ready := b.Backends()[1]
	ready.Observe(health.Success)
	waitFor(t, "a pick", func() bool {
		be, err := b.Pick(adapter.Request{})
		return err == nil && be.Backend() == ready
	})
	ready.Observe(health.Unreachable)
	if _, err := b.Pick(adapter.Request{}); !errors.Is(err, balancer.ErrNoneFit) {
		t.Errorf("Pick: %v, want ErrNoneFit", err)
	}
}

func TestTriedBackendsAreNotPickedAgain(t *testing.T) {
	for _, policy := range balancer.Policies() {
		b := newBalancer(t, policy, adapter.Hooks{})
		b.Update(endpoints(0, 20))
		var tried []*adapter.Backend
		for range 20 {
			tried = append(tried, pick(t, b, tried...).Backend)
		}
		if _, err := b.Pick(adapter.Request{Tried: tried}); !errors.Is(err, balancer.ErrNoneFit) {
			t.Errorf("%s: Pick after all were tried: %v, want ErrNoneFit", policy, err)
		}
		seen := map[*adapter.Backend]bool{}
		for _, be := range tried {
			seen[be] = true
		}
		if len(seen) != 20 {
			t.Errorf("%s: 20 attempts used %d backends", policy, len(seen))
		}
	}
}

func TestABurstOfChangesIsPublishedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var published atomic.Int32
		b := newBalancer(t, "", adapter.Hooks{ConnectFirst: true, Published: func() { published.Add(1) }})
		b.Update(endpoints(0, 1000))
		for _, be := range b.Backends() {
			be.Observe(health.Success)
		}
		time.Sleep(time.Second) // of virtual time
		if n := published.Load(); n > 4 {
			t.Errorf("1000 backends that became fit cost %d publications", n)
		}
		seen := map[*adapter.Backend]bool{}
		for range 20_000 {
			seen[pick(t, b).Backend] = true
		}
		if len(seen) != 1000 {
			t.Errorf("%d of 1000 fit backends are picked", len(seen))
		}
	})
}

func TestAnUpdateThatChangesNothingPublishesNothing(t *testing.T) {
	var published atomic.Int32
	b := newBalancer(t, "", adapter.Hooks{Published: func() { published.Add(1) }})
	b.Update(endpoints(0, 10))
	before := published.Load()
	b.Update(endpoints(0, 10))
	if published.Load() != before {
		t.Error("published")
	}
}

func TestNothingHappensAfterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var published atomic.Int32
		b := newBalancer(t, "", adapter.Hooks{Published: func() { published.Add(1) }})
		b.Update(endpoints(0, 2))
		all := b.Backends()
		all[0].Observe(health.Unreachable)
		b.Close()
		b.Close()
		before := published.Load()
		b.Update(endpoints(0, 3))
		all[1].Observe(health.Unreachable)
		time.Sleep(time.Second) // of virtual time
		if published.Load() != before {
			t.Error("published after Close")
		}
		if _, err := b.Pick(adapter.Request{}); !errors.Is(err, balancer.ErrEmpty) {
			t.Errorf("Pick: %v, want ErrEmpty", err)
		}
		for _, be := range all {
			if n := be.Conn().(*conn).drained.Load(); n != 1 {
				t.Errorf("drained %d times, want once", n)
			}
		}
	})
}

func TestThePickAllocatesNothing(t *testing.T) {
	for _, policy := range balancer.Policies() {
		b := newBalancer(t, policy, adapter.Hooks{})
		b.Update(endpoints(0, 100))
		if n := testing.AllocsPerRun(1000, func() {
			p, _ := b.Pick(adapter.Request{})
			p.Done(adapter.Result{Outcome: health.Success})
		}); n != 0 {
			t.Errorf("%s: %v allocations per pick", policy, n)
		}
	}
}

// Pickers and finishers run against updates and failures: no pick is lost, and
// no request stays counted.
func TestInFlightEndsAtZeroUnderChurn(t *testing.T) {
	for _, policy := range balancer.Policies() {
		t.Run(policy, func(t *testing.T) {
			b := newBalancer(t, policy, adapter.Hooks{})
			b.Update(endpoints(0, 10))
			var picks atomic.Int64
			var users sync.WaitGroup
			seen := make([]map[*adapter.Backend]bool, 16)
			for u := range seen {
				seen[u] = map[*adapter.Backend]bool{}
				users.Go(func() {
					for i := range 2000 {
						p, err := b.Pick(adapter.Request{})
						if err != nil {
							t.Errorf("Pick: %v", err)
							return
						}
						picks.Add(1)
						seen[u][p.Backend()] = true
						outcome := health.Success
						if i%50 == u {
							outcome = health.Unreachable
						}
						p.Done(adapter.Result{Outcome: outcome})
					}
				})
			}
			for i := range 60 {
				b.Update(endpoints(i%13, 3+i%7))
				for _, be := range b.Backends() {
					be.Observe(health.Success)
				}
			}
			users.Wait()
			for _, m := range seen {
				for be := range m {
					if be.InFlight() != 0 {
						t.Errorf("%v: in flight %d", be.Endpoint(), be.InFlight())
					}
				}
			}
			if picks.Load() != 16*2000 {
				t.Errorf("%d picks, want %d", picks.Load(), 16*2000)
			}
		})
	}
}

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func BenchmarkPick(b *testing.B) {
	for _, policy := range balancer.Policies() {
		for _, n := range []int{10, 100, 1000, 10_000} {
			b.Run(fmt.Sprintf("policy=%s/n=%d", policy, n), func(b *testing.B) {
				lb := newBalancer(b, policy, adapter.Hooks{})
				lb.Update(endpoints(0, n))
				b.ReportAllocs()
				r := adapter.Request{HasKey: true}
				for b.Loop() {
					r.Key += 0x9e3779b97f4a7c15 // another key each time
					p, _ := lb.Pick(r)
					p.Done(adapter.Result{Outcome: health.Success})
				}
			})
		}
	}
}
