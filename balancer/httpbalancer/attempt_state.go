package httpbalancer

import "sync/atomic"

// An attemptState is where an attempt is in its life. Three goroutines may act on
// an attempt at the same time: the one that sends the request, the timer of
// Retry.TryTimeout, and whoever waits for the end of the caller's context. Which
// of them comes first is decided by [attemptState.after] alone.
type attemptState uint32

const (
	stateConnecting  attemptState = iota // waits for a connection; nothing of the request has been sent
	stateSending                         // the request is on a connection; there is no answer
	stateFailed                          // there will be no answer
	stateAnswered                        // the caller has the response and may be reading its body
	stateUpgraded                        // after 101: the caller has the connection, and the context has no more say
	stateReplaced                        // TryTimeout has passed, and another attempt takes its place
	stateInterrupted                     // the caller has given up, and the HTTP/1 connection is closed for that
	stateEnded                           // not in flight any more
)

// An attemptEvent is what may happen to an attempt.
type attemptEvent uint8

const (
	eventConn          attemptEvent = iota // there is a connection for it
	eventFailed                            // no connection could be had, or the connection returned an error
	eventAnswer                            // the headers of the response are there
	eventUpgrade                           // and they are those of 101
	eventReplaceUnsent                     // TryTimeout has passed, and nothing has been sent
	eventReplace                           // TryTimeout has passed, and the retry budget has paid
	eventCallerGone                        // the context or Request.Cancel has ended, over HTTP/1
	eventEnd                               // the response has been read, closed or discarded, or the failure dealt with
)

// after returns the state after an event, and whether the event counts. One that
// does not has come too late and changes nothing.
func (s attemptState) after(e attemptEvent) (next attemptState, counts bool) {
	waiting := s == stateConnecting || s == stateSending
	switch e {
	case eventConn:
		next, counts = stateSending, s == stateConnecting
	case eventFailed:
		next, counts = stateFailed, waiting
	case eventAnswer:
		next, counts = stateAnswered, s == stateSending
	case eventUpgrade:
		next, counts = stateUpgraded, s == stateSending
	case eventReplaceUnsent:
		next, counts = stateReplaced, s == stateConnecting
	case eventReplace:
		next, counts = stateReplaced, waiting
	case eventCallerGone:
		next, counts = stateInterrupted, s == stateSending || s == stateAnswered
		if s == stateReplaced { // its own context ends for that, and the connection has to be closed
			next, counts = s, true
		}
	case eventEnd:
		next, counts = stateEnded, s != stateEnded
	}
	if !counts {
		return s, false
	}
	return next, true
}

// An attemptLife holds the state of one attempt.
type attemptLife struct{ state atomic.Uint32 }

func (l *attemptLife) is(s attemptState) bool { return attemptState(l.state.Load()) == s }

// step applies an event. It returns the state before it, and whether the event
// counts.
func (l *attemptLife) step(e attemptEvent) (before attemptState, counts bool) {
	for {
		before = attemptState(l.state.Load())
		next, counts := before.after(e)
		if !counts || l.state.CompareAndSwap(uint32(before), uint32(next)) {
			return before, counts
		}
	}
}
