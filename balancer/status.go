package balancer

import (
	"time"

	"github.com/sidestep-lb/sidestep/discovery"
)

// A Status is the state of a Balancer at one moment.
type Status struct {
	Target, Adapter string // such as "k8s:///quiz.kiada", "grpc"
	Client          string // the Name of the channel's or the transport's Config
	Policy          string
	FailOpen        bool // no backend is fit, and those that are not are used
	Backends        []BackendStatus
	Requests        map[string]Outcomes // that have ended, by zone, also of removed backends
	Counts          Counts
	Events          []Event // the latest, oldest first
}

// A State is that of a backend: the first that applies.
type State string

// The states of a backend.
const (
	StateUnreachable   State = "unreachable"    // there is no connection
	StateProbesFailing State = "probes_failing" // active probes fail
	StateEjected       State = "ejected"        // it failed too often
	StateRetryAfter    State = "retry_after"    // its server asked for a pause (Retry-After)
	StateJoining       State = "joining"        // it gets less than its share, as it is new and has not proven itself
	StateFit           State = "fit"
)

// States has every State.
var States = [...]State{StateUnreachable, StateProbesFailing, StateEjected, StateRetryAfter, StateJoining, StateFit}

// A BackendStatus is the state of a backend at one moment.
type BackendStatus struct {
	discovery.Endpoint
	State    State
	Until    time.Time     // when StateEjected, StateRetryAfter or Config.SlowStart should end
	InFlight int64         // requests that are not done
	Answered int64         // those of them whose answer has begun
	Latency  time.Duration // a moving average, or 0 if the policy keeps none
	Requests Outcomes      // that have ended
}
