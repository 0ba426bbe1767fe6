package adapter_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/adapter"
	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/health"
)

var keyedPolicies = []string{balancer.RingHash, balancer.Maglev}

// owner returns the address that a request with the key goes to when nothing
// else is in flight.
func owner(t testing.TB, b *adapter.Balancer, key string) netip.AddrPort {
	t.Helper()
	var r adapter.Request
	r.SetKey(key)
	p, err := b.Pick(r)
	if err != nil {
		t.Fatal(err)
	}
	p.Done(adapter.Result{Outcome: health.Success})
	return p.Backend().Endpoint().Addr
}

// owners returns the owner of each of n keys.
func owners(t testing.TB, b *adapter.Balancer, n int) []netip.AddrPort {
	t.Helper()
	all := make([]netip.AddrPort, n)
	for i := range all {
		all[i] = owner(t, b, fmt.Sprintf("user-%d", i))
	}
	return all
}

func moved(before, after []netip.AddrPort) (n int) {
	for i := range before {
		if before[i] != after[i] {
			n++
		}
	}
	return n
}

func newKeyed(t testing.TB, policy string, all []discovery.Endpoint) *adapter.Balancer {
	t.Helper()
	b, err := adapter.New(balancer.Config{Policy: policy, SlowStart: -1}, adapter.Hooks{Connect: connect})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	b.Update(all)
	return b
}

func TestKeysAreSpreadEvenly(t *testing.T) {
	for policy, most := range map[string]map[int]float64{ // times the mean
		balancer.RingHash: {10: 1.25, 100: 1.45, 1000: 1.6},
		balancer.Maglev:   {10: 1.05, 100: 1.05, 1000: 1.2},
	} {
		for n, limit := range most {
			b := newKeyed(t, policy, endpoints(0, n))
			const keys = 65_537 // at equal distances, so that they are a fair sample
			counts := map[netip.AddrPort]int{}
			for i := range keys {
				p, err := b.Pick(adapter.Request{Key: math.MaxUint64 / keys * uint64(i), HasKey: true})
				if err != nil {
					t.Fatal(err)
				}
				p.Done(adapter.Result{Outcome: health.Success})
				counts[p.Backend().Endpoint().Addr]++
			}
			highest := 0
			for _, c := range counts {
				highest = max(highest, c)
			}
			got := float64(highest) * float64(n) / keys
			t.Logf("%s, %d backends: at most %.3f times the mean", policy, n, got)
			if got > limit || len(counts) != n {
				t.Errorf("%s: %d of %d backends have keys, and one %.2f times the mean; want at most %.2f", policy, len(counts), n, got, limit)
			}
		}
	}
}

func TestKeysFollowWeights(t *testing.T) {
	for _, policy := range keyedPolicies {
		all := endpoints(0, 4)
		all[2].Weight = 2
		all[3].Weight = 4
		b := newKeyed(t, policy, all)
		before := owners(t, b, 10_000)
		counts := map[netip.AddrPort]float64{}
		for _, a := range before {
			counts[a] += 1.0 / 1250
		}
		for i, want := range []float64{1, 1, 2, 4} {
			if got := counts[all[i].Addr]; math.Abs(got-want) > want/3 {
				t.Errorf("%s: weights 1, 1, 2, 4: backend %d has %.2f eighths of the keys", policy, i, got)
			}
		}
		again := slices.Clone(all)
		again[3].Weight = 1
		b.Update(again)
		after := owners(t, b, 10_000)
		if moved(before, after) == 0 {
			t.Errorf("%s: another weight makes no difference", policy)
		}
		if n := moved(after, owners(t, newKeyed(t, policy, again), 10_000)); n != 0 {
			t.Errorf("%s: a client that knew other weights before disagrees on %d of 10,000 keys", policy, n)
		}
	}
}

// Scenario B17: one backend more or less moves at most two parts in n of the
// keys, and of ring_hash only those that it takes or gives.
func TestAChangeMovesFewKeys(t *testing.T) {
	const keys = 5_000
	for _, policy := range keyedPolicies {
		for _, n := range []int{20, 100} {
			all := endpoints(0, n+1)
			b := newKeyed(t, policy, all[:n])
			before := owners(t, b, keys)
			fewer := slices.Delete(slices.Clone(all[:n]), n/2, n/2+1)
			for _, change := range []struct {
				name string
				to   []discovery.Endpoint
				who  netip.AddrPort // comes or goes
			}{{"less", fewer, all[n/2].Addr}, {"more", all, all[n].Addr}} {
				b.Update(change.to)
				after := owners(t, b, keys)
				share := float64(moved(before, after)) / keys
				t.Logf("%s: one %s of %d moves %.2f/n of the keys", policy, change.name, n, share*float64(n))
				if share > 2/float64(n) {
					t.Errorf("%s: one %s of %d moves %.3f of the keys, want at most %.3f", policy, change.name, n, share, 2/float64(n))
				}
				for i := range before {
					if policy == balancer.RingHash && before[i] != after[i] && before[i] != change.who && after[i] != change.who {
						t.Fatalf("one %s of %d moves a key between two others", change.name, n)
					}
				}
				b.Update(all[:n])
				if moved(before, owners(t, b, keys)) != 0 {
					t.Fatalf("%s: keys do not come back", policy)
				}
			}
		}
	}
}

// What a key's owner is, is written down here, because another program with
// another version has to agree.
func TestAllClientsAgreeOnTheOwners(t *testing.T) {
	if got := []uint64{balancer.HashKey("user-7"), balancer.HashKey("0b5f9a1c-6d2e")}; !slices.Equal(got, []uint64{0xa8e182f15c93c76c, 0xc11ea6499e29c50b}) {
		t.Errorf("the hash has changed: %#x", got)
	}
	for policy, want := range map[string]string{
		balancer.RingHash: "10.0.0.35 10.0.0.43 10.0.0.7 10.0.0.32 10.0.0.42",
		balancer.Maglev:   "10.0.0.27 10.0.0.7 10.0.0.31 10.0.0.12 10.0.0.24",
	} {
		all := endpoints(0, 50)
		first := newKeyed(t, policy, all)
		shuffled := slices.Clone(all)
		rand.New(rand.NewPCG(1, 2)).Shuffle(len(all), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		second := newKeyed(t, policy, nil)
		for i := range 5 { // ten by ten
			second.Update(slices.Clone(shuffled[:10*i+10]))
		}
		if n := moved(owners(t, first, 1000), owners(t, second, 1000)); n != 0 {
			t.Errorf("%s: two clients disagree on %d of 1000 keys", policy, n)
		}
		third := newKeyed(t, policy, endpoints(0, 80))
		third.Update(all)
		if n := moved(owners(t, first, 1000), owners(t, third, 1000)); n != 0 {
			t.Errorf("%s: a client that knew more backends before disagrees on %d of 1000 keys", policy, n)
		}
		var got []string
		for _, a := range owners(t, first, 5) {
			got = append(got, a.Addr().String())
		}
		if text := strings.Join(got, " "); text != want {
			t.Errorf("%s: the owners have changed: %s", policy, text)
		}
	}
}

func TestAPodKeepsItsKeysAtAnotherAddress(t *testing.T) {
	for _, policy := range keyedPolicies {
		before, after := endpoints(0, 20), endpoints(100, 20)
		for i := range before {
			before[i].Pod = fmt.Sprintf("quiz-%d", i)
			after[i].Pod, after[i].UID = before[i].Pod, "new"
		}
		b := newKeyed(t, policy, before)
		had := owners(t, b, 1000)
		b.Update(after)
		for i, a := range owners(t, b, 1000) {
			if was, is := slices.IndexFunc(before, func(e discovery.Endpoint) bool { return e.Addr == had[i] }), slices.IndexFunc(after, func(e discovery.Endpoint) bool { return e.Addr == a }); was != is {
				t.Fatalf("%s: a key moved from quiz-%d to quiz-%d", policy, was, is)
			}
		}
	}
}

// The keys of a backend that is out go to all the others, those of the others
// stay, and with the backend its keys come back.
func TestOnlyTheKeysOfAnUnfitBackendMove(t *testing.T) {
	for _, policy := range keyedPolicies {
		b := newKeyed(t, policy, endpoints(0, 10))
		before := owners(t, b, 10_000)
		out := b.Backends()[3]
		out.Observe(health.Unreachable)
		takers := map[netip.AddrPort]bool{}
		for i, a := range owners(t, b, 10_000) {
			switch {
			case a == out.Endpoint().Addr:
				t.Fatalf("%s: a backend that is out gets requests", policy)
			case before[i] == out.Endpoint().Addr:
				takers[a] = true
			case before[i] != a:
				t.Fatalf("%s: a key of a backend that is fit moved", policy)
			}
		}
		if len(takers) != 9 {
			t.Errorf("%s: %d of 9 others take over", policy, len(takers))
		}
		out.Observe(health.Success)
		waitFor(t, "the keys to come back", func() bool { return moved(before, owners(t, b, 10_000)) == 0 })
	}
}

// Scenario B17: few keys are asked for often (Zipf's law with exponent 1.1), and
// no backend ever has more than 1.25 times the mean of requests in flight.
func TestAHotKeyDoesNotOverloadItsOwner(t *testing.T) {
	for _, policy := range keyedPolicies {
		for bound, want := range map[float64]bool{0: true, 1e9: false} {
			const n, concurrent = 20, 2000
			b, err := adapter.New(balancer.Config{Policy: policy, BoundedLoad: bound}, adapter.Hooks{Connect: connect})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			b.Update(endpoints(0, n))
			prove(t, b)
			random := rand.New(rand.NewPCG(1, 2))
			popular := rand.NewZipf(random, 1.1, 1, 9999)
			var flying []adapter.Pick
			most := 0.0
			for i := range 20_000 {
				var r adapter.Request
				r.SetKey(fmt.Sprint("page-", popular.Uint64()))
				p, err := b.Pick(r)
				if err != nil {
					t.Fatal(err)
				}
				flying = append(flying, p)
				if len(flying) == concurrent { // one at random ends
					k := random.IntN(concurrent)
					flying[k].Done(adapter.Result{Outcome: health.Success})
					flying[k] = flying[concurrent-1]
					flying = flying[:concurrent-1]
				}
				if i > 2*concurrent {
					for _, be := range b.Backends() {
						most = max(most, float64(be.InFlight())*n/concurrent)
					}
				}
			}
			t.Logf("%s, bound %v: at most %.3f times the mean in flight", policy, bound, most)
			if (most <= 1.25+1.0/(concurrent/n)) != want {
				t.Errorf("%s, bound %v: one backend had %.2f times the mean in flight", policy, bound, most)
			}
			for i := range flying {
				flying[i].Done(adapter.Result{})
			}
		}
	}
}

// prove gives each backend an answer, after which it takes several requests at
// once.
func prove(t testing.TB, b *adapter.Balancer) {
	t.Helper()
	for i, tried := 0, []*adapter.Backend(nil); i < len(b.Backends()); i++ {
		be := pick(t, b, tried...)
		be.Done(health.Success)
		tried = append(tried, be.Backend)
	}
}

// Requests that end in all the ways there are leave nothing behind: the bound is
// exact afterwards.
func TestTheBoundHoldsAfterAllThatMayHappenToRequests(t *testing.T) {
	for _, policy := range keyedPolicies {
		b := newKeyed(t, policy, endpoints(0, 10))
		var users sync.WaitGroup
		var turn atomic.Int64
		for range 8 {
			users.Go(func() {
				for range 2000 {
					i := turn.Add(1)
					p, err := b.Pick(adapter.Request{Key: uint64(i) << 58, HasKey: i%3 == 0})
					if err != nil {
						t.Error(err)
						return
					}
					if i%5 == 0 {
						p.Answered(adapter.Result{Outcome: health.Success})
					}
					p.Done(adapter.Result{Outcome: []health.Outcome{health.Success, health.Neutral, health.Failure, health.Timeout, health.Unreachable}[i%7*i%5]})
				}
			})
		}
		users.Wait()
		b.Update(nil)
		b.Update(endpoints(0, 10))
		prove(t, b)
		for i := range 100 {
			var r adapter.Request
			r.SetKey("hot")
			if _, err := b.Pick(r); err != nil {
				t.Fatal(err)
			}
			limit := math.Ceil(1.25 * float64(i+1) / 10)
			for _, be := range b.Backends() {
				if n := be.InFlight(); float64(n) > limit {
					t.Fatalf("%s: %d of %d requests are at one backend, want at most %v", policy, n, i+1, limit)
				}
			}
		}
	}
}

func TestRequestsWithoutAKeyAreSpread(t *testing.T) {
	for _, policy := range keyedPolicies {
		b := newKeyed(t, policy, endpoints(0, 10))
		counts := map[*adapter.Backend]int{}
		for range 10_000 {
			be := pick(t, b)
			counts[be.Backend]++
			be.Done(health.Success)
		}
		for be, n := range counts {
			if n < 600 || n > 1400 || len(counts) != 10 {
				t.Errorf("%s: %v got %d of 10000 requests, want about 1000", policy, be.Endpoint(), n)
			}
		}
	}
}

func TestImpossibleKeysAndBoundsAreErrorsThatNameTheField(t *testing.T) {
	for _, test := range []struct {
		field  string
		config balancer.Config
	}{
		{"hashKey.header", balancer.Config{HashKey: balancer.KeySource{Header: "x user"}}},
		{"hashKey.cookie", balancer.Config{HashKey: balancer.KeySource{Cookie: "user;"}}},
		{"boundedLoad", balancer.Config{BoundedLoad: 1}},
		{"boundedLoad", balancer.Config{BoundedLoad: -2}},
		{"boundedLoad", balancer.Config{BoundedLoad: math.NaN()}},
	} {
		if err := test.config.Validate(); err == nil || !strings.Contains(err.Error(), test.field) {
			t.Errorf("%+v: %v, want an error that names %s", test.config, err, test.field)
		}
	}
}

func TestAnEmptyKeyIsNone(t *testing.T) {
	ctx := balancer.WithKey(context.Background(), "")
	if _, ok := adapter.KeyFrom(ctx); ok {
		t.Error("the context has a key")
	}
	var r adapter.Request
	if r.SetKey(""); r.HasKey {
		t.Error("the request has a key")
	}
}

func FuzzHashKeySpreadsNeighbours(f *testing.F) {
	f.Add("user-1", byte(1))
	f.Fuzz(func(t *testing.T, key string, b byte) {
		if other := key + string([]byte{b}); balancer.HashKey(key) == balancer.HashKey(other) {
			t.Errorf("%q and %q have the same hash", key, other)
		}
	})
}
