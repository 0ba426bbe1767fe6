package lb

import (
	"sync/atomic"
	"testing"
)

func BenchmarkPick(b *testing.B) {
	for _, name := range []string{"round_robin", "random", "least_request", "ring_hash", "adaptive", GRPCRoundRobin, GRPCLeastRequest} {
		b.Run(name, func(b *testing.B) {
			c, err := Named(name)
			if err != nil {
				b.Fatal(err)
			}
			l, err := c.start(100)
			if err != nil {
				b.Fatal(err)
			}
			defer l.end()
			l.run(shift{stop: &atomic.Bool{}, limit: 2000, report: true})
			b.ReportAllocs()
			b.ResetTimer()
			l.run(shift{stop: &atomic.Bool{}, limit: b.N})
		})
	}
}
