package balancer

import (
	"time"

	"github.com/sidestep-lb/sidestep/health"
)

// A Sample is one request of many, with how long it took until its answer, or
// until it had failed.
type Sample struct {
	Target, Adapter, Zone string
	Outcome               health.Outcome
	Latency               time.Duration
}
