package adapter

import (
	"slices"
	"sync/atomic"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/health"
)

// counts are the Counts as they are counted.
type counts struct {
	ejections                                              [health.SuccessRate + 1]atomic.Uint64
	readmissions, failOpens, repicks, noBackend, newcomers atomic.Uint64
	retries                                                [len(reasons)]atomic.Uint64
}

func (c *counts) read() balancer.Counts {
	read := balancer.Counts{
		Ejections:    make(map[health.Cause]uint64),
		Readmissions: c.readmissions.Load(),
		FailOpens:    c.failOpens.Load(),
		Repicks:      c.repicks.Load(),
		NoBackend:    c.noBackend.Load(),
		Newcomers:    c.newcomers.Load(),
		Retries:      make(map[balancer.Reason]uint64),
	}
	for cause := health.Consecutive; cause <= health.SuccessRate; cause++ {
		read.Ejections[cause] = c.ejections[cause].Load()
	}
	for i, reason := range reasons {
		read.Retries[reason] = c.retries[i].Load()
	}
	return read
}

// Retried takes note of a request that an adapter sends once more.
func (b *Balancer) Retried(why balancer.Reason) {
	if i := slices.Index(reasons[:], why); i >= 0 {
		b.counts.retries[i].Add(1)
	}
}

// An ending counts the requests of a backend that have ended, by outcome.
type ending [health.Unreachable + 1]atomic.Uint64

func (e *ending) read() (o balancer.Outcomes) {
	for i := range e {
		o[i] = e[i].Load()
	}
	return o
}
