package main

import (
	"fmt"
	"time"
)

// rolls is when rollouts begin.
const rolls = 20 * time.Second

// A rolling is a scenario of a rollout in a service.
type rolling struct {
	id      string
	pods    int
	load    float64
	rollout rollout
}

// rollouts are R1 and its variants.
func rollouts() []*scenario {
	var all []*scenario
	for _, r := range []rolling{
		{"R1", 10, 0.7, rollout{every: 2 * time.Second}},
		{"R1s", 10, 0.7, rollout{every: 2 * time.Second, surge: time.Second}},
		{"R2", 4, 0.6, rollout{every: 3 * time.Second}},
		{"R3", 3, 0.7, rollout{every: 5 * time.Second}},
		{"R4", 30, 0.75, rollout{every: 500 * time.Millisecond}},
		{"R5", 6, 0.65, rollout{every: 4 * time.Second, batch: 2, surge: time.Second}},
		{"half60", 10, 0.6, rollout{every: 10 * time.Second, batch: 5}},
		{"half70", 10, 0.7, rollout{every: 10 * time.Second, batch: 5}},
	} {
		all = append(all, r.scenario())
	}
	return all
}

// setup has the rollout begin after the time that it is compared with, and lasts
// for a while after it.
func (r *rolling) setup() setup {
	r.rollout.begins = rolls
	s := busy(r.pods, r.load, r.rollout.ends(r.pods)+10*time.Second)
	return s.with(r.rollout.play)
}

func (r *rolling) title() string {
	o := r.rollout
	how := ""
	if o.surge > 0 {
		how = fmt.Sprintf(" %v after its successor has come", o.surge)
	}
	return fmt.Sprintf("%d of %d pods replaced every %v from %v on%s, 10 clients, %.0f %% load, %v deadline",
		max(o.batch, 1), r.pods, o.every, rolls, how, 100*r.load, patience)
}

func (r *rolling) scenario() *scenario {
	setup := r.setup()
	const before, during, errors = "p99 ms before", "p99 ms in it", "errors % in it"
	s := &scenario{
		id: r.id, title: r.title(), contestants: everyday(), seeds: everydaySeeds,
		studies: []study{{setup: setup, columns: []column{
			{before, percentileBetween(0.99, 5*time.Second, rolls), neither},
			{during, percentileBetween(0.99, rolls, setup.length), less},
			{errors, failuresBetween(rolls, setup.length), less},
		}}},
	}
	s.targets = append(forOurs(func(k contestant) target {
		return target{column: during, bound: "1.05 × before", limit: times(1.05, k.name, before)}
	}), noErrors(errors)...)
	return s
}

// coldRollout is C1: a rollout of pods that are slow at first.
func coldRollout() *scenario {
	const tail, errors = "p99 ms in it", "errors % in it"
	r := rolling{"C1", 10, 0.6, rollout{every: 2 * time.Second, fresh: cold(5, 8*time.Second)}}
	setup := r.setup()
	return &scenario{
		id: r.id, title: r.title() + "; a new pod is 5 times slower for its first 8 s", contestants: everyday(), seeds: everydaySeeds,
		studies: []study{{setup: setup, columns: []column{
			{tail, percentileBetween(0.99, rolls, setup.length), less},
			{errors, failuresBetween(rolls, setup.length), less},
		}}},
		targets: []target{
			{column: tail, bound: "0.25 × the best peer", limit: bestPeer(0.25, tail)},
			{column: errors, limit: constant(0)},
			{of: oursEveryday()[1].name, column: tail, bound: "the best peer", limit: bestPeer(1, tail)},
			{of: oursEveryday()[1].name, column: errors, limit: constant(0.98)},
		},
	}
}
