package telemetry_test

import (
	"sync"
	"testing"

	"github.com/sidestep-lb/sidestep/internal/telemetry"
)

func TestEachCountIsKept(t *testing.T) {
	before := telemetry.Counts()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 1000 {
				telemetry.Count(telemetry.Answer, "NOERROR")
			}
			telemetry.Count(telemetry.Answer, "NXDOMAIN")
		})
	}
	all.Wait()
	after := telemetry.Counts()
	for label, want := range map[string]uint64{"NOERROR": 8000, "NXDOMAIN": 8} {
		key := telemetry.Key{What: telemetry.Answer, Label: label}
		if n := after[key] - before[key]; n != want {
			t.Errorf("counted %d of %s, want %d", n, label, want)
		}
	}
}
