package adapter

import (
	"slices"

	"github.com/sidestep-lb/sidestep/balancer"
)

// A rotation is the set that picks are made from. It never changes.
type rotation struct {
	levels []level // by priority; usually one, none if there is nothing to pick from
	ignore uint32  // flags that do not count, because no backend is without them
	timed  bool    // requests are timed: the policy wants it, or a backend is judged by its latencies
	err    error   // why there are no levels
}

// failsOpen reports whether backends that are not fit are used.
func (t *rotation) failsOpen() bool { return t.ignore&(unreachable|probesFailing|ejected) != 0 }

// A level is the backends of one priority.
type level struct {
	picker   picker
	backends []*Backend // what picker picks from
	upTo     uint32     // picks whose chance is less, and not that of a level before, fall to this one
}

// rotate makes a rotation of all backends, of which some may be on further levels.
// It is called with publishing held.
func (b *Balancer) rotate(all []*Backend, leveled bool) *rotation {
	t := b.rotationOf(all, leveled)
	held := b.held.Load()
	t.timed = b.timed || held > 0 || b.out.Load() > 0 || len(t.levels) > 1
	if held > 0 && mostJoin(all) {
		t.ignore |= joining | warming
	}
	return t
}

// mostJoin reports whether more than three quarters of the backends that are fit are
// newcomers. The rest could not carry the load, so none is held back then.
func mostJoin(all []*Backend) bool {
	fit, newcomers := 0, 0
	for _, be := range all {
		if flags := be.flags.Load(); flags&(unreachable|probesFailing|ejected|left) == 0 {
			fit++
			if flags&(joining|warming) != 0 {
				newcomers++
			}
		}
	}
	return 4*newcomers > 3*fit
}

// rotationOf is rotate without what concerns newcomers.
func (b *Balancer) rotationOf(all []*Backend, leveled bool) *rotation {
	levels := b.levels
	if !leveled {
		levels = b.level
	}
	switch {
	case len(all) == 0:
		return &rotation{err: balancer.ErrEmpty}
	case b.out.Load() == 0: // usually, and to look at each of many costs
		return &rotation{levels: levels(all, all)}
	}
	// When none is fit, those are used that can be reached, or else all (fail
	// open).
	for _, out := range []uint32{unreachable | probesFailing | ejected, unreachable} {
		if usable := without(all, out); len(usable) > 0 {
			return &rotation{levels: levels(all, usable), ignore: (probesFailing | ejected) &^ out}
		}
	}
	if b.hooks.ConnectFirst {
		return &rotation{err: balancer.ErrNoneFit}
	}
	return &rotation{levels: levels(all, all), ignore: unreachable | probesFailing | ejected}
}

// without returns the backends that have none of the flags: the same slice if
// that is all.
func without(all []*Backend, flags uint32) []*Backend {
	first := slices.IndexFunc(all, func(be *Backend) bool { return be.is(flags) })
	if first < 0 {
		return all
	}
	rest := append(make([]*Backend, 0, len(all)-1), all[:first]...)
	for _, be := range all[first+1:] {
		if !be.is(flags) {
			rest = append(rest, be)
		}
	}
	return rest
}
