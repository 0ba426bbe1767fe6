package adapter

import (
	"maps"
	"slices"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
)

// Status returns the state of the Balancer.
func (b *Balancer) Status() balancer.Status {
	now, wall := b.hooks.Now(), time.Now()
	toTime := func(at int64) time.Time { return wall.Add(time.Duration(at - now)) }
	rotation := b.rotation.Load()
	s := balancer.Status{
		Target:   b.hooks.Name,
		Adapter:  b.hooks.Adapter,
		Client:   b.hooks.Client,
		Policy:   policyName(&b.config),
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
func (b *Balancer) requests() map[string]balancer.Outcomes {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sweepGoneLocked()
	sum := maps.Clone(b.past)
	if sum == nil {
		sum = make(map[string]balancer.Outcomes)
	}
	for _, backends := range [][]*Backend{b.ordered, b.gone} {
		for _, be := range backends {
			addTo(sum, be, be.outcomes())
		}
	}
	return sum
}

func addTo(byZone map[string]balancer.Outcomes, be *Backend, more balancer.Outcomes) {
	zone := be.Endpoint().Zone
	byZone[zone] = sumOf(byZone[zone], more)
}

// sweepGoneLocked adds up what the backends that have left did, as soon as they have
// nothing more to do. It is called with mu held.
func (b *Balancer) sweepGoneLocked() {
	b.gone = slices.DeleteFunc(b.gone, func(be *Backend) bool {
		if be.InFlight() > 0 {
			return false
		}
		if b.past == nil {
			b.past = make(map[string]balancer.Outcomes)
		}
		addTo(b.past, be, be.outcomes())
		return true
	})
}

func (b *Backend) status(now int64, toTime func(int64) time.Time) balancer.BackendStatus {
	latency, _ := b.estimate.read(now)
	s := balancer.BackendStatus{
		Endpoint: *b.Endpoint(),
		State:    balancer.StateFit,
		InFlight: b.InFlight(),
		Answered: b.open.count(),
		Latency:  time.Duration(latency),
		Requests: b.outcomes(),
	}
	switch flags := b.flags.Load(); {
	case flags&unreachable != 0:
		s.State = balancer.StateUnreachable
	case flags&probesFailing != 0:
		s.State = balancer.StateProbesFailing
	case flags&ejected != 0:
		s.State, s.Until = balancer.StateEjected, toTime(b.outUntil.Load())
	case flags&retryAfter != 0 && b.inRetryAfter(now):
		s.State, s.Until = balancer.StateRetryAfter, toTime(b.retryAfterUntil.Load())
	case flags&warming != 0 && b.share(now) < 1:
		s.State, s.Until = balancer.StateJoining, toTime(b.joined+int64(b.balancer.slowStart))
	case flags&joining != 0:
		s.State = balancer.StateJoining
	}
	return s
}
