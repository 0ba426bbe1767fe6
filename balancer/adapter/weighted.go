package adapter

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
)

// weighted gives each backend turns in proportion to its weight: that of its
// endpoint, or, as soon as two backends report their load, what they could
// serve by their reports, as gRPC's weighted_round_robin does (gRFC A58).
//
// The line from 0 to 1 is divided among the backends by their weights, and the
// turns fall on the multiples of the golden ratio, modulo 1, which are as evenly
// spread as points that come one after another can be: whatever the weights,
// nobody is ever more than a few turns away from what is due. With A58's
// scheduler it is about as many, but a pick there takes dozens of turns where
// weights differ much.
type weighted struct {
	turn atomic.Uint64
	due  atomic.Bool // a call that makes the pickers anew is on its way
}

// The defaults of gRFC A58.
const (
	weightPeriod   = time.Second      // how often reports change the weights
	weightBlackout = 10 * time.Second // of reports, before they count
	weightExpiry   = 3 * time.Minute  // after the last report
	errorPenalty   = 1                // how much utilization a share of errors counts as
)

func newWeighted(_ *balancer.Config, random func() uint64) policy {
	p := &weighted{}
	p.turn.Store(random() >> 1) // see roundRobin
	return p
}

// Picker implements policy.
func (p *weighted) Picker(backends []*Backend) picker {
	weights, n := p.weights(backends), len(backends)
	sum, equal := 0.0, true
	for _, w := range weights {
		sum += w
		equal = equal && w == weights[0]
	}
	if equal {
		return &roundRobinPicker{&p.turn, backends}
	}
	picker := &weightedPicker{turn: &p.turn, backends: backends, ends: make([]uint32, n), first: make([]uint32, n)}
	end := 0.0
	for i, w := range weights {
		end += w
		picker.ends[i] = uint32(min(end/sum, 1) * math.MaxUint32)
	}
	picker.ends[n-1] = math.MaxUint32
	i := uint32(0)
	for k := range picker.first {
		for scale(picker.ends[i], uint32(n)) < uint32(k) {
			i++
		}
		picker.first[k] = i
	}
	return picker
}

// weights returns the weights of the backends. Those that report none get the
// mean of the others, and none gets more than ten times or less than a tenth of
// that, so that no report can starve anybody.
func (p *weighted) weights(backends []*Backend) []float64 {
	b := backends[0].balancer
	now := b.hooks.Now()
	weights := make([]float64, len(backends))
	known, sum, alive := 0.0, 0.0, false
	for i, be := range backends {
		w, fresh := be.reported.read(now)
		alive = alive || fresh
		if w > 0 {
			weights[i] = w
			sum += w
			known++
		}
	}
	if alive { // one may come to count, or expire
		p.refresh(b)
	}
	mean := sum / known
	for i, be := range backends {
		switch {
		case known < 2:
			weights[i] = float64(be.Weight())
		case weights[i] == 0:
			weights[i] = mean
		default:
			weights[i] = min(max(weights[i], mean/10), mean*10)
		}
	}
	return weights
}

// refresh sees to it that the pickers are made anew in a while.
func (p *weighted) refresh(b *Balancer) {
	if !p.due.Load() && p.due.CompareAndSwap(false, true) {
		b.hooks.AfterFunc(weightPeriod, func() {
			p.due.Store(false)
			b.publish()
		})
	}
}

type weightedPicker struct {
	turn     *atomic.Uint64
	backends []*Backend
	ends     []uint32 // of each backend's part of the line, which is of length 2³²
	first    []uint32 // of the backends in each piece of the line, which is cut into n; so a search takes one step on average
}

// Pick implements picker.
func (p *weightedPicker) Pick(r Request) *Backend {
	x := uint32(p.turn.Add(1) * golden64 >> 32)
	i := p.first[scale(x, uint32(len(p.first)))]
	for x > p.ends[i] {
		i++
	}
	if b := p.backends[i]; r.Admits(b) {
		return b
	}
	return nil
}

// A LoadReport is what a server says of its load, for the policy [Weighted].
// It is the part that gRFC A58 uses of xds.data.orca.v3.OrcaLoadReport.
type LoadReport struct {
	// ApplicationUtilization is how much of what it has the server uses, 1 being
	// all of it, as it sees that itself. If it is 0, CPUUtilization counts.
	ApplicationUtilization float64
	// CPUUtilization is how much of its CPU the server uses.
	CPUUtilization float64
	// QPS and EPS are the requests and errors per second at the server.
	QPS, EPS float64
}

// maxReportedWeight is more than any server can do.
const maxReportedWeight = 1e18

// weight is how many requests per second the server could serve, or 0 if the
// report does not say.
func (r LoadReport) weight() float64 {
	used := r.ApplicationUtilization
	if used == 0 {
		used = r.CPUUtilization
	}
	weight := r.QPS / (used + r.EPS/r.QPS*errorPenalty)
	if used > 0 && r.QPS > 0 && r.EPS >= 0 && weight < maxReportedWeight {
		return weight
	}
	return 0
}

// Report takes note of what the backend says of its load. It counts with the
// policy [Weighted], after ten seconds of reports, and for three minutes. A
// report without a utilization or QPS, or an impossible one, says nothing.
func (b *Backend) Report(r LoadReport) {
	p, ok := b.balancer.policy.(*weighted)
	if !ok || b.Left() {
		return
	}
	if weight := r.weight(); weight > 0 {
		b.reported.set(b.balancer.hooks.Now(), weight)
		p.refresh(b.balancer)
	}
}

// reported is the weight that a backend has by its reports. Whoever reads it
// while it changes may get a new weight with an old time, which does no harm.
type reported struct {
	weight atomic.Uint64 // a float64; 0 if there was no report
	first  atomic.Int64  // when reports began to come
	last   atomic.Int64
}

func (r *reported) set(now int64, weight float64) {
	if r.weight.Load() == 0 || now-r.last.Load() >= int64(weightExpiry) {
		r.first.Store(now)
	}
	r.last.Store(now)
	r.weight.Store(math.Float64bits(weight))
}

// forget is for a backend that cannot be reached: when it is back, its reports
// have to come for a while before they count again.
func (r *reported) forget() { r.weight.Store(0) }

// read returns the weight, 0 if it does not count now, and whether there was a
// report lately.
func (r *reported) read(now int64) (weight float64, fresh bool) {
	weight = math.Float64frombits(r.weight.Load())
	if weight == 0 || now-r.last.Load() >= int64(weightExpiry) {
		return 0, false
	}
	if now-r.first.Load() < int64(weightBlackout) {
		return 0, true
	}
	return weight, true
}
