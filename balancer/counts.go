package balancer

import (
	"slices"
	"sync/atomic"

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

func (o *Outcomes) add(more Outcomes) {
	for i := range o {
		o[i] += more[i]
	}
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
	// Redraws are the times that the policy was asked again, because the backend
	// that it had chosen was not to be used, or was to be spared.
	Redraws uint64
	// NoBackend counts the picks that failed. In gRPC, a request whose pick failed
	// may wait and pick again.
	NoBackend uint64
	// Newcomers are the backends that came when others were there.
	Newcomers uint64
	// Retries are the requests that the adapter sent once more, by the reason.
	Retries map[Reason]uint64
}

func (c *Counts) add(more Counts) {
	if c.Ejections == nil {
		c.Ejections, c.Retries = make(map[health.Cause]uint64), make(map[Reason]uint64)
	}
	for cause, n := range more.Ejections {
		c.Ejections[cause] += n
	}
	for reason, n := range more.Retries {
		c.Retries[reason] += n
	}
	c.Readmissions += more.Readmissions
	c.FailOpens += more.FailOpens
	c.Redraws += more.Redraws
	c.NoBackend += more.NoBackend
	c.Newcomers += more.Newcomers
}

// counts are the Counts as they are counted.
type counts struct {
	ejections                                              [health.SuccessRate + 1]atomic.Uint64
	readmissions, failOpens, redraws, noBackend, newcomers atomic.Uint64
	retries                                                [len(reasons)]atomic.Uint64
}

func (c *counts) read() Counts {
	read := Counts{
		Ejections:    make(map[health.Cause]uint64),
		Readmissions: c.readmissions.Load(),
		FailOpens:    c.failOpens.Load(),
		Redraws:      c.redraws.Load(),
		NoBackend:    c.noBackend.Load(),
		Newcomers:    c.newcomers.Load(),
		Retries:      make(map[Reason]uint64),
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
func (b *Balancer) Retried(why Reason) {
	if i := slices.Index(reasons[:], why); i >= 0 {
		b.counts.retries[i].Add(1)
	}
}

// An ending counts the requests of a backend that have ended, by outcome.
type ending [health.Unreachable + 1]atomic.Uint64

func (e *ending) read() (o Outcomes) {
	for i := range e {
		o[i] = e[i].Load()
	}
	return o
}
