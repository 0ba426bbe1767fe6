package adapter

import (
	"testing"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/health"
)

type noConn struct{}

func (noConn) Drain() {}

// What an answer means that is known at its end counts once, then, and its latency
// is that of its beginning.
func TestAnOutcomeThatComesWithTheEndCountsAtTheEnd(t *testing.T) {
	for _, policy := range []string{balancer.RoundRobin, balancer.Adaptive} {
		for o := health.Neutral; o <= health.Unreachable; o++ {
			now := int64(1)
			b, err := New(balancer.Config{Policy: policy, MaxEjectedPercent: -1}, Hooks{
				Connect: func(*Backend) Conn { return noConn{} }, Now: func() int64 { return now },
			})
			if err != nil {
				t.Fatal(err)
			}
			b.Update(make([]discovery.Endpoint, 1))
			p, err := b.Pick(Request{})
			if err != nil {
				t.Fatal(err)
			}
			be := p.Backend()
			now += 1000
			p.Responding()
			p.Responding() // which is told once
			if got := be.outcomes().Sum(); got != 0 || be.InFlight() != 1 {
				t.Errorf("%s, %v: %d have ended, %d are in flight", policy, o, got, be.InFlight())
			}
			now += 1_000_000
			p.Done(Result{Outcome: o})
			if got := be.outcomes(); got.Sum() != 1 || got[o] != 1 || be.InFlight() != 0 {
				t.Errorf("%s, %v: outcomes %v, %d in flight", policy, o, got, be.InFlight())
			}
			b.Close()
		}
	}
}
