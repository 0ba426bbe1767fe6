package adapter_test

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidestep-lb/sidestep/balancer/adapter"
	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/health"
)

// inLevels returns n endpoints of each priority.
func inLevels(n, levels int) []discovery.Endpoint {
	all := endpoints(0, n*levels)
	for i := range all {
		all[i].Priority = uint8(i / n)
	}
	return all
}

// shares returns which part of n requests each level gets; latency is what they
// take there, of virtual time.
func shares(t *testing.T, b *adapter.Balancer, n int, latency func(level uint8) time.Duration) map[uint8]float64 {
	t.Helper()
	got := map[uint8]float64{}
	for range n {
		p := pick(t, b)
		level := p.Endpoint().Priority
		got[level] += 1 / float64(n)
		time.Sleep(latency(level)) // of virtual time
		p.Done(health.Success)
	}
	return got
}

func always(d time.Duration) func(uint8) time.Duration {
	return func(uint8) time.Duration { return d }
}

func TestTheNextLevelTakesOverAsTheFirstIsUnfit(t *testing.T) {
	for broken, want := range map[int]float64{0: 1, 2: 1, 5: 0.7, 8: 0.28, 10: 0} {
		synctest.Test(t, func(t *testing.T) {
			b := newBalancer(t, "", adapter.Hooks{Random: rand.New(rand.NewPCG(1, 1)).Uint64})
			b.Update(inLevels(10, 3))
			n := 0
			for _, be := range b.Backends() {
				if be.Endpoint().Priority == 0 && n < broken {
					be.Observe(health.Unreachable)
					n++
				}
			}
			time.Sleep(time.Second) // of virtual time
			got := shares(t, b, 5000, always(time.Millisecond))
			if got[0] < want-0.05 || got[0] > want+0.05 || got[2] > 0.02 {
				t.Errorf("with %d of 10 backends unfit level 0 gets %.2f of the requests, want %.2f; all: %v", broken, got[0], want, got)
			}
		})
	}
}

func TestALevelThatDrownsSpillsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBalancer(t, "", adapter.Hooks{Random: rand.New(rand.NewPCG(1, 1)).Uint64})
		b.Update(inLevels(3, 2))
		if calm := shares(t, b, 3000, always(10*time.Millisecond)); calm[1] > 0.05 {
			t.Errorf("level 1 gets %.2f of the requests while level 0 is as fast", calm[1])
		}
		drowning := func(level uint8) time.Duration {
			if level == 0 {
				return 200 * time.Millisecond
			}
			return 10 * time.Millisecond
		}
		shares(t, b, 1000, drowning)
		if got := shares(t, b, 1000, drowning); got[1] < 0.5 {
			t.Errorf("level 1 gets %.2f of the requests while level 0 takes 20 times as long", got[1])
		}
		shares(t, b, 2000, always(10*time.Millisecond))
		if calm := shares(t, b, 1000, always(10*time.Millisecond)); calm[1] > 0.05 {
			t.Errorf("level 1 still gets %.2f of the requests when level 0 is fast again", calm[1])
		}
	})
}

func TestAChangeOfPriorityCountsAtOnce(t *testing.T) {
	b := newBalancer(t, "", adapter.Hooks{})
	b.Update(inLevels(1, 2))
	swapped := inLevels(1, 2)
	swapped[0].Priority, swapped[1].Priority = 1, 0
	b.Update(swapped)
	got := shares(t, b, 1000, always(0))
	if got[0] < 0.9 {
		t.Errorf("level 0 gets %.2f of the requests", got[0])
	}
	if p := pick(t, b); p.Endpoint().Priority == 0 && p.Endpoint().Addr != swapped[1].Addr {
		t.Errorf("%v is in level 0", p.Endpoint())
	}
}
