package balancer

import (
	"time"

	"github.com/sidestep-lb/sidestep/discovery"
)

// A Status is the state of a Balancer at one moment, for those who look at it
// from outside.
type Status struct {
	// Target is whose backends they are, and Adapter who sends the requests: "grpc"
	// or "http".
	Target, Adapter string
	// Client is what the user calls the channel or the transport, by the Name of its
	// Config. It may be empty.
	Client string
	Policy string
	// FailOpen says that no backend is fit, and that those which are not are used.
	FailOpen bool
	Backends []BackendStatus
	// Requests are those that have ended, by zone of the backend, with those of
	// backends that have left.
	Requests map[string]Outcomes
	Counts   Counts
	// Events are the latest ones, the oldest first.
	Events []Event
}

// A State is that of a backend.
type State string

// The states of a backend. Of several that it is in, it is said to be in the
// first.
const (
	StateUnreachable   State = "unreachable"    // there is no connection
	StateProbesFailing State = "probes_failing" // active probes fail
	StateEjected       State = "ejected"        // it failed too often
	StateRetryAfter    State = "retry_after"    // its server asked for a pause (Retry-After)
	StateJoining       State = "joining"        // it gets less than its share, as it is new and has not proven itself
	StateFit           State = "fit"
)

// States are all of them.
var States = [...]State{StateUnreachable, StateProbesFailing, StateEjected, StateRetryAfter, StateJoining, StateFit}

// A BackendStatus is the state of a backend at one moment.
type BackendStatus struct {
	discovery.Endpoint
	State State
	// Until is when an ejected backend gets its probe, when the pause asked for by a server
	// ends, and when one that joins gets its whole share by Config.SlowStart.
	Until time.Time
	// InFlight counts the requests in flight, and Answered those of them that have
	// an answer: streams, and responses that are being read.
	InFlight, Answered int64
	// Latency is a moving average, if the policy keeps one, and else 0.
	Latency  time.Duration
	Requests Outcomes // those that have ended
}
