package adapter_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/adapter"
	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/health"
)

// A Snapshot's endpoints are in order, each once. Those of several levels, or of
// another resolver, need not be.
func TestWhateverTheUpdatesTheBackendsAreThoseOfTheLast(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { randomUpdates(t, rand.New(rand.NewPCG(seed, 1))) })
		})
	}
}

func randomUpdates(t *testing.T, random *rand.Rand) {
	b, err := adapter.New(balancer.Config{Policy: balancer.RoundRobin, SlowStart: -1}, adapter.Hooks{Connect: connect})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	known := make(map[discovery.Identity]*adapter.Backend)
	unfit := make(map[*adapter.Backend]bool)
	for range 60 {
		list := randomEndpoints(random)
		want := make(map[discovery.Identity]discovery.Endpoint)
		for _, e := range list {
			want[e.Identity()] = e
		}
		b.Update(list)

		now := make(map[discovery.Identity]*adapter.Backend)
		for _, be := range b.Backends() {
			e := be.Endpoint()
			now[e.Identity()] = be
			if expected, listed := want[e.Identity()]; !listed || !e.Equal(&expected) {
				t.Fatalf("a backend of %+v, want %+v", e, expected)
			}
			if old := known[e.Identity()]; old != nil && old != be {
				t.Fatalf("%v has lost its state", e)
			}
		}
		if len(b.Backends()) != len(want) || len(now) != len(want) {
			t.Fatalf("%d backends of %d endpoints, want %d", len(b.Backends()), len(now), len(want))
		}
		for id, be := range known {
			if be.Left() == (now[id] == be) {
				t.Fatalf("%v: left %t", id, be.Left())
			}
			if be.Left() {
				delete(unfit, be)
				be.Observe([]health.Outcome{health.Success, health.Unreachable}[random.IntN(2)]) // it may say so as it drains
			}
		}
		known = now
		for _, be := range b.Backends() {
			switch random.IntN(6) {
			case 0:
				be.SetProbesFailing(true)
				unfit[be] = true
			case 1:
				be.SetProbesFailing(false)
				delete(unfit, be)
			}
		}
		pass(time.Second)
		inRotation(t, b, unfit)
	}
}

// randomEndpoints are a few of twelve, most often in order and each once.
func randomEndpoints(random *rand.Rand) []discovery.Endpoint {
	var list []discovery.Endpoint
	for _, e := range endpoints(0, 12) {
		e.UID = fmt.Sprint("uid-", random.IntN(5)/4)
		e.Zone = fmt.Sprint("zone-", random.IntN(5)/4)
		if random.IntN(4) > 0 {
			list = append(list, e)
		}
	}
	if random.IntN(4) == 0 && len(list) > 0 {
		list = append(list, list[random.IntN(len(list))])
		random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	}
	return list
}

// inRotation checks that each backend that is fit gets requests, and no other.
func inRotation(t *testing.T, b *adapter.Balancer, unfit map[*adapter.Backend]bool) {
	t.Helper()
	picked := make(map[*adapter.Backend]bool)
	for range 5 * len(b.Backends()) {
		p := pick(t, b)
		p.Done(health.Success)
		picked[p.Backend] = true
	}
	want := make(map[*adapter.Backend]bool)
	for _, be := range b.Backends() {
		if !unfit[be] || len(unfit) == len(b.Backends()) { // when none is fit, all are used
			want[be] = true
		}
	}
	if !maps.Equal(picked, want) {
		t.Fatalf("picked %d backends, want %d of %d", len(picked), len(want), len(b.Backends()))
	}
}

func TestEndpointsOfWhichSomethingElseIsKnownKeepTheirBackends(t *testing.T) {
	b := newBalancer(t, balancer.RoundRobin, adapter.Hooks{})
	b.Update(endpoints(0, 5))
	before := slices.Clone(b.Backends())
	list := endpoints(0, 5)
	for i := range list {
		list[i].Zone, list[i].Weight = "za", 3
	}
	b.Update(list)
	if !slices.Equal(b.Backends(), before) {
		t.Error("other backends")
	}
	for _, be := range before {
		if be.Endpoint().Zone != "za" || be.Weight() != 3 {
			t.Errorf("zone %q, weight %d", be.Endpoint().Zone, be.Weight())
		}
	}
}
