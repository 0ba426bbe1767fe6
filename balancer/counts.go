package balancer

import (
	"github.com/sidestep-lb/sidestep/health"
)

// Outcomes counts requests by what became of them: a health.Outcome is the index.
type Outcomes [health.Unreachable + 1]uint64

// Sum returns how many requests there were.
func (o Outcomes) Sum() (n uint64) {
	for _, count := range o {
		n += count
	}
	return n
}

// Counts are what a Balancer has counted since it was made.
type Counts struct {
	// Ejections, by their cause.
	Ejections map[health.Cause]uint64
	// Readmissions of ejected backends.
	Readmissions uint64
	// FailOpens are the requests that went to a backend which was not fit, because
	// none was.
	FailOpens uint64
	// Repicks are the times that the policy was asked again, because the backend
	// that it had chosen was not to be used, or was held back.
	Repicks uint64
	// NoBackend counts the picks that failed. In gRPC, a request whose pick failed
	// may wait and pick again.
	NoBackend uint64
	// Newcomers are the backends that came when others were there.
	Newcomers uint64
	// Retries are the requests that the adapter sent once more, by the reason.
	Retries map[Reason]uint64
}
