package balancer

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/health"
)

// A Status is the state of a Balancer at one moment, for those who look at it
// from outside.
type Status struct {
	// Target is whose backends they are, and Adapter who sends the requests: "grpc"
	// or "http".
	Target, Adapter string
	Policy          string
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
	// SlowStarts are the backends that came when others were there.
	SlowStarts uint64
	// Retries are the requests that the adapter sent once more, by the reason.
	Retries map[Reason]uint64
}

// A State is that of a backend.
type State string

// The states of a backend. Of several that it is in, it is said to be in the
// first.
const (
	StateUnreachable State = "unreachable" // there is no connection
	StateSick        State = "sick"        // active probes say so
	StateEjected     State = "ejected"     // it failed too often
	StateWarming     State = "warming"     // it gets less than its share, as it is new
	StateFit         State = "fit"
)

// States are all of them.
var States = [...]State{StateUnreachable, StateSick, StateEjected, StateWarming, StateFit}

// A BackendStatus is the state of a backend at one moment.
type BackendStatus struct {
	discovery.Endpoint
	State State
	// Until is when an ejected backend gets its probe, and when one that warms up
	// gets its whole share.
	Until time.Time
	// InFlight counts the requests in flight, and Answered those of them that have
	// an answer: streams, and responses that are being read.
	InFlight, Answered int64
	// Latency is a moving average, if the policy keeps one, and else 0.
	Latency  time.Duration
	Requests Outcomes // those that have ended
}

// counts are the Counts as they are counted.
type counts struct {
	ejections                                               [health.SuccessRate + 1]atomic.Uint64
	readmissions, failOpens, redraws, noBackend, slowStarts atomic.Uint64
	retries                                                 [len(reasons)]atomic.Uint64
}

func (c *counts) read() Counts {
	read := Counts{
		Ejections:    make(map[health.Cause]uint64),
		Readmissions: c.readmissions.Load(),
		FailOpens:    c.failOpens.Load(),
		Redraws:      c.redraws.Load(),
		NoBackend:    c.noBackend.Load(),
		SlowStarts:   c.slowStarts.Load(),
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

// A Reason is why a request was sent once more.
type Reason string

// The reasons.
const (
	NotSent    Reason = "not_sent"    // nothing of the request had reached a backend
	Refused    Reason = "refused"     // a backend had refused to process it
	Broken     Reason = "broken"      // the connection broke before the answer
	Answer     Reason = "answer"      // the answer was one that is worth another try
	TryTimeout Reason = "try_timeout" // there was no answer within the time for a try
	Hedged     Reason = "hedge"       // the answer took longer than most do
)

var reasons = [...]Reason{NotSent, Refused, Broken, Answer, TryTimeout, Hedged}

// Retried takes note of a request that an adapter sends once more.
func (b *Balancer) Retried(why Reason) {
	if i := slices.Index(reasons[:], why); i >= 0 {
		b.counts.retries[i].Add(1)
	}
}

// named are the Balancers of the process that have a name. It is no setting:
// nothing about it can be chosen.
var named sync.Map // *Balancer to nothing

// Statuses returns the state of each Balancer of the process, by target.
func Statuses() []Status {
	var statuses []Status
	for b := range named.Range {
		statuses = append(statuses, b.(*Balancer).Status())
	}
	slices.SortFunc(statuses, func(a, b Status) int {
		return strings.Compare(a.Target+" "+a.Adapter, b.Target+" "+b.Adapter)
	})
	return statuses
}

// Status returns the state of the Balancer.
func (b *Balancer) Status() Status {
	now, wall := b.hooks.Now(), time.Now()
	toTime := func(at int64) time.Time { return wall.Add(time.Duration(at - now)) }
	rotation := b.rotation.Load()
	s := Status{
		Target:   b.hooks.Name,
		Adapter:  b.hooks.Adapter,
		Policy:   b.policyName(),
		FailOpen: rotation.ignore != 0,
		Counts:   b.counts.read(),
		Events:   b.events.latest(toTime),
	}
	b.mu.Lock()
	b.sweepGone()
	s.Requests = maps.Clone(b.past)
	current, gone := b.ordered, slices.Clone(b.gone)
	b.mu.Unlock()
	if s.Requests == nil {
		s.Requests = make(map[string]Outcomes)
	}
	for _, be := range current {
		status := be.status(now, toTime)
		s.Backends = append(s.Backends, status)
		addTo(s.Requests, be, status.Requests)
	}
	for _, be := range gone {
		addTo(s.Requests, be, be.ended.read())
	}
	slices.SortFunc(s.Backends, func(a, b BackendStatus) int { return a.Addr.Compare(b.Addr) })
	return s
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
		addTo(b.past, be, be.ended.read())
		return true
	})
}

// An ending counts the requests of a backend that have ended, by outcome.
type ending [health.Unreachable + 1]atomic.Uint64

func (e *ending) read() (o Outcomes) {
	for i := range e {
		o[i] = e[i].Load()
	}
	return o
}

func (b *Backend) status(now int64, toTime func(int64) time.Time) BackendStatus {
	latency, _ := b.estimate.read(now)
	s := BackendStatus{
		Endpoint: *b.Endpoint(),
		State:    StateFit,
		InFlight: b.InFlight(),
		Answered: b.open.Load(),
		Latency:  time.Duration(latency),
		Requests: b.ended.read(),
	}
	switch flags := b.flags.Load(); {
	case flags&unreachable != 0:
		s.State = StateUnreachable
	case flags&sick != 0:
		s.State = StateSick
	case flags&ejected != 0:
		s.State, s.Until = StateEjected, toTime(b.outUntil.Load())
	case flags&warming != 0 && b.share(now) < 1:
		s.State, s.Until = StateWarming, toTime(b.joined+int64(b.balancer.slowStart))
	}
	return s
}
