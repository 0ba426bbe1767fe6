package dialbalancer

import (
	"slices"
	"time"

	"github.com/sidestep-lb/sidestep/balancer/adapter"
)

// A rebalance marks connections after pods have been added: those that the other
// pods have more of than their share. It marks one at a time, and ends when no pod has
// too many. It is guarded by the Dialer's mu.
type rebalance struct {
	timer *time.Timer   // of the next one; nil if none is due
	pause time.Duration // between two
	marks int           // how many may yet be marked, so that it ends whatever happens
}

// published is told that other pods may be in rotation than before.
func (d *Dialer) published() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r := &d.rebalance; r.timer == nil && len(d.conns) > 0 && !d.closed && d.config.rebalances() {
		r.marks, r.pause = 2*len(d.conns), min(d.config.RebalanceOver, time.Second) // others may be about to come
		r.timer = time.AfterFunc(r.pause, d.markNext)
	}
}

// markNext marks a connection of the pod that has most above its share, the one that
// has not been used for longest, and sees to it that the next one follows.
func (d *Dialer) markNext() {
	backends := d.balancer.Backends()
	d.mu.Lock()
	defer d.mu.Unlock()
	r := &d.rebalance
	r.timer = nil
	over, surplus := surplusOf(backends, d.unmarkedLocked())
	if surplus == 0 || r.marks == 0 || d.closed {
		return
	}
	var next *Conn
	for c := range d.conns {
		if over[c.pod] > 0 && !c.Stale() && (next == nil || over[c.pod] > over[next.pod] || over[c.pod] == over[next.pod] && c.lastUse().Before(next.lastUse())) {
			next = c
		}
	}
	next.surplus.Store(true)
	r.marks--
	r.pause = min(r.pause, d.config.RebalanceOver/time.Duration(surplus))
	r.timer = time.AfterFunc(r.pause, d.markNext)
}

// unmarkedLocked returns how many connections the pods have that are not stale.
func (d *Dialer) unmarkedLocked() map[*podConns]int {
	counts := make(map[*podConns]int)
	for c := range d.conns {
		if !c.Stale() {
			counts[c.pod]++
		}
	}
	return counts
}

// surplusOf returns how many connections too many each pod has, and all pods. Pods
// count that are fit and of the first level, for their weight. A quarter more than the
// mean is no reason to connect anew.
func surplusOf(backends []*adapter.Backend, counts map[*podConns]int) (over map[*podConns]int, surplus int) {
	total, weight := 0, 0
	first := slices.DeleteFunc(slices.Clone(backends), func(b *adapter.Backend) bool {
		return !b.Fit() || b.Endpoint().Priority > 0
	})
	for _, b := range first {
		total += counts[b.Conn().(*podConns)]
		weight += int(b.Weight())
	}
	over = make(map[*podConns]int)
	for _, b := range first {
		p, share := b.Conn().(*podConns), total*int(b.Weight())
		if n := counts[p] - max((share+weight-1)/weight, share*5/(weight*4)); n > 0 {
			over[p] = n
			surplus += n
		}
	}
	return over, surplus
}
