package telemetry_test

import (
	"sync"
	"testing"

	"github.com/sidestep-lb/sidestep/internal/telemetry"
)

func TestEachCountIsKept(t *testing.T) {
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
	counts := telemetry.Counts()
	if n, m := counts[telemetry.Key{What: telemetry.Answer, Label: "NOERROR"}], counts[telemetry.Key{What: telemetry.Answer, Label: "NXDOMAIN"}]; n != 8000 || m != 8 {
		t.Errorf("counted %d and %d, want 8000 and 8", n, m)
	}
}
