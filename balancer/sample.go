package balancer

import (
	"time"

	"github.com/sidestep-lb/sidestep/health"
)

// A Sample is a request, with the time until its answer began or it failed.
type Sample struct {
	Target, Adapter, Zone string
	Outcome               health.Outcome
	Latency               time.Duration
}
