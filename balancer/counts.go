package balancer

import (
	"github.com/sidestep-lb/sidestep/health"
)

// Outcomes counts requests by their outcome: a [health.Outcome] is the index.
type Outcomes [health.Unreachable + 1]uint64

// Sum returns the number of requests.
func (o Outcomes) Sum() (n uint64) {
	for _, count := range o {
		n += count
	}
	return n
}

// Counts are what a Balancer has counted since it was made.
type Counts struct {
	Ejections    map[health.Cause]uint64
	Readmissions uint64            // of ejected backends
	FailOpens    uint64            // requests to a backend that was not fit, as none was
	Repicks      uint64            // picks whose backend could not be used, so that the policy was asked again
	NoBackend    uint64            // picks that failed; in gRPC the request may wait and pick again
	Newcomers    uint64            // backends that came when others were there
	Retries      map[Reason]uint64 // requests that were sent again
}
