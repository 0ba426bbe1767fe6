package balancer

import (
	"maps"
	"slices"
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
	StateUnreachable State = "unreachable" // there is no connection
	StateSick        State = "sick"        // active probes say so
	StateEjected     State = "ejected"     // it failed too often
	StateSpared      State = "spared"      // its server asked for a pause
	StateJoining     State = "joining"     // it gets less than its share, as it is new and has not proven itself
	StateFit         State = "fit"
)

// States are all of them.
var States = [...]State{StateUnreachable, StateSick, StateEjected, StateSpared, StateJoining, StateFit}

// A BackendStatus is the state of a backend at one moment.
type BackendStatus struct {
	discovery.Endpoint
	State State
	// Until is when an ejected backend gets its probe, when the pause of a spared one
	// ends, and when one that joins gets its whole share by Config.SlowStart.
	Until time.Time
	// InFlight counts the requests in flight, and Answered those of them that have
	// an answer: streams, and responses that are being read.
	InFlight, Answered int64
	// Latency is a moving average, if the policy keeps one, and else 0.
	Latency  time.Duration
	Requests Outcomes // those that have ended
}

// Status returns the state of the Balancer.
func (b *Balancer) Status() Status {
	now, wall := b.hooks.Now(), time.Now()
	toTime := func(at int64) time.Time { return wall.Add(time.Duration(at - now)) }
	rotation := b.rotation.Load()
	s := Status{
		Target:   b.hooks.Name,
		Adapter:  b.hooks.Adapter,
		Client:   b.hooks.Client,
		Policy:   b.policyName(),
		FailOpen: rotation.failsOpen(),
		Counts:   b.counts.read(),
		Events:   b.events.latest(toTime),
	}
	s.Requests = b.requests()
	backends := slices.Clone(b.Backends())
	slices.SortFunc(backends, func(a, b *Backend) int { return a.Endpoint().Addr.Compare(b.Endpoint().Addr) })
	for _, be := range backends {
		s.Backends = append(s.Backends, be.status(now, toTime))
	}
	return s
}

// requests returns what became of the requests to all backends that there are and were, by zone.
func (b *Balancer) requests() map[string]Outcomes {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sweepGone()
	sum := maps.Clone(b.past)
	if sum == nil {
		sum = make(map[string]Outcomes)
	}
	for _, backends := range [][]*Backend{b.ordered, b.gone} {
		for _, be := range backends {
			addTo(sum, be, be.outcomes())
		}
	}
	return sum
}

func addTo(byZone map[string]Outcomes, be *Backend, more Outcomes) {
	zone := be.Endpoint().Zone
	sum := byZone[zone]
	sum.add(more)
	byZone[zone] = sum
}

func (b *Balancer) policyName() string {
	if b.config.NewPolicy != nil {
		return "custom"
	}
	return b.config.policy()
}

// sweepGone adds up what the backends that have left did, as soon as they have
// nothing more to do. It is called with mu held.
func (b *Balancer) sweepGone() {
	b.gone = slices.DeleteFunc(b.gone, func(be *Backend) bool {
		if be.InFlight() > 0 {
			return false
		}
		if b.past == nil {
			b.past = make(map[string]Outcomes)
		}
		addTo(b.past, be, be.outcomes())
		return true
	})
}

func (b *Backend) status(now int64, toTime func(int64) time.Time) BackendStatus {
	latency, _ := b.estimate.read(now)
	s := BackendStatus{
		Endpoint: *b.Endpoint(),
		State:    StateFit,
		InFlight: b.InFlight(),
		Answered: b.open.count(),
		Latency:  time.Duration(latency),
		Requests: b.outcomes(),
	}
	switch flags := b.flags.Load(); {
	case flags&unreachable != 0:
		s.State = StateUnreachable
	case flags&sick != 0:
		s.State = StateSick
	case flags&ejected != 0:
		s.State, s.Until = StateEjected, toTime(b.outUntil.Load())
	case flags&spared != 0 && b.isSpared(now):
		s.State, s.Until = StateSpared, toTime(b.spareTo.Load())
	case flags&warming != 0 && b.share(now) < 1:
		s.State, s.Until = StateJoining, toTime(b.joined+int64(b.balancer.slowStart))
	case flags&joining != 0:
		s.State = StateJoining
	}
	return s
}
