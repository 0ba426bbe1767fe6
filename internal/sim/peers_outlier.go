package main

import (
	"math"
	"math/rand/v2"
	"time"
)

// outlierDetection is gRPC's (gRFC A50) around a policy, with both of its
// algorithms on, and its defaults.
type outlierDetection struct {
	inner   policy
	engine  *engine
	servers []*server
	state   []outlierState // by id
}

// The defaults of gRFC A50.
const (
	a50Interval          = 10 * time.Second
	a50BaseEjection      = 30 * time.Second
	a50MaxEjection       = 300 * time.Second
	a50MaxEjected        = 10.0 // %
	a50MinimumHosts      = 5
	a50SuccessVolume     = 100
	a50StdevFactor       = 1.9
	a50FailureVolume     = 50
	a50FailurePercentage = 85.0
)

type outlierState struct {
	successes, failures int // since the last sweep
	ejected             bool
	since               int64
	multiplier          int64
}

func (s *outlierState) requests() int { return s.successes + s.failures }

func (s *outlierState) successRate() float64 {
	return float64(s.successes) / float64(s.requests())
}

// withOutlierDetection wraps a policy.
func withOutlierDetection(inner func(*world, *rand.Rand) policy) func(*world, *rand.Rand) policy {
	return func(w *world, random *rand.Rand) policy {
		d := &outlierDetection{inner: inner(w, random), engine: &w.engine}
		d.sweepLater()
		return d
	}
}

func (d *outlierDetection) sweepLater() {
	d.engine.after(a50Interval, func() {
		d.sweep()
		d.sweepLater()
	})
}

func (d *outlierDetection) update(servers []*server) {
	d.servers = servers
	for _, s := range servers {
		for len(d.state) <= s.id {
			d.state = append(d.state, outlierState{})
		}
	}
	d.publish()
}

// publish lets the inner policy choose among those that are not ejected.
func (d *outlierDetection) publish() {
	var fit []*server
	for _, s := range d.servers {
		if !d.state[s.id].ejected {
			fit = append(fit, s)
		}
	}
	d.inner.update(fit)
}

func (d *outlierDetection) pick(a *attempt) *server { return d.inner.pick(a) }

func (d *outlierDetection) done(a *attempt, o outcome) {
	if s := &d.state[a.server.id]; o == success {
		s.successes++
	} else {
		s.failures++
	}
	d.inner.done(a, o)
}

func (d *outlierDetection) sweep() {
	d.ejectBySuccessRate()
	d.ejectByFailurePercentage()
	for _, s := range d.servers {
		state := &d.state[s.id]
		state.successes, state.failures = 0, 0
		switch {
		case !state.ejected:
			state.multiplier = max(0, state.multiplier-1)
		case d.engine.now > state.since+min(int64(a50BaseEjection)*state.multiplier, int64(a50MaxEjection)):
			state.ejected = false
		}
	}
	d.publish()
}

func (d *outlierDetection) ejectBySuccessRate() {
	hosts, mean := d.volume(a50SuccessVolume)
	if hosts < a50MinimumHosts {
		return
	}
	variance := 0.0
	for _, s := range d.servers {
		if state := &d.state[s.id]; state.requests() >= a50SuccessVolume {
			variance += (state.successRate() - mean) * (state.successRate() - mean) / float64(hosts)
		}
	}
	d.eject(a50SuccessVolume, func(s *outlierState) bool {
		return s.successRate() < mean-a50StdevFactor*math.Sqrt(variance)
	})
}

func (d *outlierDetection) ejectByFailurePercentage() {
	if hosts, _ := d.volume(a50FailureVolume); hosts < a50MinimumHosts {
		return
	}
	d.eject(a50FailureVolume, func(s *outlierState) bool {
		return percent(s.failures, s.requests()) > a50FailurePercentage
	})
}

// volume returns how many servers had enough requests, and their mean success
// rate.
func (d *outlierDetection) volume(enough int) (hosts int, mean float64) {
	sum := 0.0
	for _, s := range d.servers {
		if state := &d.state[s.id]; state.requests() >= enough {
			hosts++
			sum += state.successRate()
		}
	}
	return hosts, sum / float64(hosts)
}

// eject ejects the outliers among those with enough requests, until the most
// that may be out are out.
func (d *outlierDetection) eject(enough int, outlier func(*outlierState) bool) {
	for _, s := range d.servers {
		state := &d.state[s.id]
		switch {
		case d.ejected() >= a50MaxEjected:
			return
		case state.ejected || state.requests() < enough || !outlier(state):
		default:
			state.ejected, state.since = true, d.engine.now
			state.multiplier++
		}
	}
}

func (d *outlierDetection) ejected() (percentage float64) {
	n := 0
	for _, s := range d.servers {
		if d.state[s.id].ejected {
			n++
		}
	}
	return percent(n, len(d.servers))
}
