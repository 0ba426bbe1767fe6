package balancer

import (
	"time"
)

// An Event is a change of a Balancer that people may want to look up.
type Event struct {
	At      time.Time
	Kind    EventKind
	Backend string // its address and pod, or empty
	Detail  string // more, such as for how long
}

// An EventKind is what happened.
type EventKind string

// The kinds of events.
const (
	EventEndpoints     EventKind = "endpoints"      // backends came or left
	EventEjected       EventKind = "ejected"        // a backend failed too often
	EventReadmitted    EventKind = "readmitted"     // its probe succeeded
	EventPardoned      EventKind = "pardoned"       // all failed, so that none is ejected for a while
	EventUnreachable   EventKind = "unreachable"    // the connection of a backend broke, or could not be made
	EventReached       EventKind = "reached"        // and is there again
	EventProbesFailing EventKind = "probes_failing" // active probes fail
	EventProbesPassing EventKind = "probes_passing" // and succeed again
	EventFailOpen      EventKind = "fail_open"      // no backend is fit, and those that are not are used
	EventNoneFit       EventKind = "none_fit"       // no backend is fit, and none is used
	EventFit           EventKind = "fit"            // some are again
)
