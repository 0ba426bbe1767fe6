package adapter

import (
	"errors"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
)

// publishInterval is the shortest time between two publications of the
// rotation, so that a thousand connections that become ready cost a few
// publications and not a thousand.
const publishInterval = 5 * time.Millisecond

// fitnessChanged sees to it that a new rotation is published soon. Picks pass
// over a backend that has become unfit before that, too.
func (b *Balancer) fitnessChanged(be *Backend) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rotationDueLocked(be)
}

// rotationDueLocked is fitnessChanged with mu held.
func (b *Balancer) rotationDueLocked(be *Backend) {
	if b.hooks.FitnessChanged != nil {
		b.hooks.FitnessChanged(be)
	}
	b.republishLocked()
}

// republish publishes the rotation anew, soon.
func (b *Balancer) republish() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.republishLocked()
}

func (b *Balancer) republishLocked() {
	b.due = true
	if !b.pausing && !b.closed {
		b.pausing = true
		b.hooks.AfterFunc(0, b.publishDue)
	}
}

// publishDue publishes at once, and then again after each pause in which
// something changed.
func (b *Balancer) publishDue() {
	b.mu.Lock()
	due := b.due && !b.closed
	b.pausing = due
	b.mu.Unlock()
	if due {
		b.publish()
		b.hooks.AfterFunc(publishInterval, b.publishDue)
	}
}

// publish makes the backends that are fit now the rotation.
func (b *Balancer) publish() {
	b.publishing.Lock()
	defer b.publishing.Unlock()
	b.mu.Lock()
	b.due = false
	all, leveled, closed := b.ordered, b.further > 0, b.closed
	b.mu.Unlock()
	if closed {
		return
	}
	next := b.rotate(all, leveled)
	b.recordTrouble(b.rotation.Swap(next), next)
	if len(next.levels) > 1 {
		b.watchLevels()
	}
	if b.hooks.Published != nil {
		b.hooks.Published()
	}
}

// recordTrouble takes note of it when no backend is fit any more, and when some are again.
// It is called with publishing held.
func (b *Balancer) recordTrouble(last, next *rotation) {
	before, after := last.trouble(), next.trouble()
	switch {
	case before == after, errors.Is(last.err, balancer.ErrEmpty), errors.Is(next.err, balancer.ErrEmpty): // or there are none, or they are being connected
		return
	case after != "":
		b.recordEvent(after, nil, "")
	case b.troubled:
		b.recordEvent(balancer.EventFit, nil, "")
	}
	b.troubled = after != ""
}

// trouble is the event of a rotation that has no fit backend, though there are
// some.
func (t *rotation) trouble() balancer.EventKind {
	switch {
	case t.failsOpen():
		return balancer.EventFailOpen
	case errors.Is(t.err, balancer.ErrNoneFit):
		return balancer.EventNoneFit
	default:
		return ""
	}
}
