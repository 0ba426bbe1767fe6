// Package health decides which backends are fit to serve. It is pure: state
// machines that are told what happened and when, and that neither start a
// goroutine nor read a clock nor roll dice of their own.
//
//	var record health.Record // of one backend
//	if cause := record.Observe(health.Failure, now); cause != health.NoCause {
//		var rest health.Rest // what its siblings did
//		for _, other := range others {
//			rest.Add(other.Conduct(now()))
//		}
//		if rest.Worse(cause, record.Conduct(now())) {
//			// it fails more than they do: take it out of rotation for
//			// record.Eject(now(), rand.Uint64), then try it with one request
//		}
//	}
//
// A backend is taken out of rotation in two ways. One whose connection or dial
// fails comes back when it was reached again, see [RetryDelay]. One that can be
// reached and answers with failures is ejected for a time by its [Record], and
// comes back when a single request has shown that it answers again.
//
// Health is not readiness. Whether a pod declares itself ready is for
// Kubernetes to say, and discovery hands it on; this package judges what this
// client experiences.
package health

import "time"

// An Outcome is what became of a request.
type Outcome uint8

const (
	// Neutral says nothing about the backend: the caller gave up, say, or the
	// request was never sent, or it was the request that was wrong.
	Neutral Outcome = iota
	// Success is an answer.
	Success
	// Failure is an answer that says that the server failed.
	Failure
	// Timeout is no answer within the time that the caller gave it.
	Timeout
	// Unreachable is a dial that failed, or a connection that broke before the
	// answer.
	Unreachable
)

// String returns the name of the outcome.
func (o Outcome) String() string {
	switch o {
	case Success:
		return "success"
	case Failure:
		return "failure"
	case Timeout:
		return "timeout"
	case Unreachable:
		return "unreachable"
	default:
		return "neutral"
	}
}

// Failed reports whether the outcome is held against the backend.
func (o Outcome) Failed() bool { return o >= Failure }

// The delays between attempts to reach a backend that cannot be reached.
const (
	minRetryDelay = 250 * time.Millisecond
	maxRetryDelay = 15 * time.Second
)

// RetryDelay returns how long to wait before the given attempt, counted from
// 0, to reach a backend that is out: 250 ms, doubled with each attempt up to
// 15 s, and of that a random part between a half and the whole.
func RetryDelay(attempt int, random func() uint64) time.Duration {
	return jittered(doubled(minRetryDelay, maxRetryDelay, attempt), random)
}

// doubled returns d, doubled n times, but limit at most.
func doubled(d, limit time.Duration, n int) time.Duration {
	for ; n > 0 && d < limit; n-- {
		d *= 2
	}
	return min(d, limit)
}

// jittered returns a random part of d between a half and the whole.
func jittered(d time.Duration, random func() uint64) time.Duration {
	half := uint64(d / 2)
	return time.Duration(half + random()%(half+1))
}
