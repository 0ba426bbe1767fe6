// Package health decides which backends are fit to serve. It is pure: state
// machines that are told what happened and when, and that neither start a
// goroutine nor read a clock nor roll dice of their own.
//
//	var r health.Reachability
//	if r.Observe(health.Unreachable) {
//		// it just went out of rotation: try to reach it again after
//		// health.RetryDelay(attempt, rand.Uint64)
//	}
//
// A backend whose connection or dial fails is out of rotation until it answers
// again. It comes back because it was reached, never because time has passed:
// readmission by timer costs a user's request for each try.
//
// Health is not readiness. Whether a pod declares itself ready is for
// Kubernetes to say, and discovery hands it on; this package judges what this
// client experiences.
package health

import (
	"sync/atomic"
	"time"
)

// An Outcome is what became of a request.
type Outcome uint8

const (
	// Neutral says nothing about the backend: the caller gave up, say, or the
	// request was never sent.
	Neutral Outcome = iota
	// Success is an answer.
	Success
	// Unreachable is a dial that failed, or a connection that broke before the
	// answer.
	Unreachable
)

// String returns the name of the outcome.
func (o Outcome) String() string {
	switch o {
	case Success:
		return "success"
	case Unreachable:
		return "unreachable"
	default:
		return "neutral"
	}
}

// Reachability is whether a backend could be reached when it was last tried.
// The zero value is reachable. It may be used by many goroutines.
type Reachability struct{ out atomic.Bool }

// OK reports whether the backend is in rotation.
func (r *Reachability) OK() bool { return !r.out.Load() }

// Observe takes note of an outcome, and reports whether it took the backend
// out of rotation or back in.
func (r *Reachability) Observe(o Outcome) (changed bool) {
	switch o {
	case Success:
		return r.out.Load() && r.out.CompareAndSwap(true, false)
	case Unreachable:
		return r.out.CompareAndSwap(false, true)
	default:
		return false
	}
}

// The delays between attempts to reach a backend that is out.
const (
	minRetryDelay = 250 * time.Millisecond
	maxRetryDelay = 15 * time.Second
)

// RetryDelay returns how long to wait before the given attempt, counted from
// 0, to reach a backend that is out: 250 ms, doubled with each attempt up to
// 15 s, and of that a random part between a half and the whole.
func RetryDelay(attempt int, random func() uint64) time.Duration {
	d := maxRetryDelay
	if attempt < 6 {
		d = min(minRetryDelay<<max(attempt, 0), maxRetryDelay)
	}
	half := uint64(d / 2)
	return time.Duration(half + random()%(half+1))
}
