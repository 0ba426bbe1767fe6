package main

import (
	"slices"
	"time"
)

// A newcomer makes what is needed of a server that joins now: how much slower it
// is, by the time. Nil is a server that is warm.
type newcomer func(joined time.Duration) func(now time.Duration) float64

// cold is a newcomer that is slower for a time.
func cold(factor float64, lasts time.Duration) newcomer {
	return func(joined time.Duration) func(time.Duration) float64 {
		return between(joined, joined+lasts, factor)
	}
}

// join adds a server, slowed as told, and lets all clients know.
func (w *world) join(slow func(time.Duration) float64) {
	w.change(1, func(time.Duration) func(time.Duration) float64 { return slow }, nil)
}

// change adds servers to the list and takes others off it, in one update. Those
// that leave get no new requests and finish those that they have.
func (w *world) change(joining int, fresh newcomer, leaving []*server) {
	listed := slices.DeleteFunc(slices.Clone(w.listed), func(s *server) bool { return slices.Contains(leaving, s) })
	for range joining {
		s := w.addServer(w.servers[0].chance)
		if fresh != nil {
			s.slow = fresh(time.Duration(w.now))
		}
		listed = append(listed, s)
	}
	w.list(listed)
}

// list lets all clients know which servers there are.
func (w *world) list(servers []*server) {
	w.listed = servers
	for _, c := range w.clients {
		c.policy.update(servers)
	}
}

// crashAt makes the process of a server end at a moment, with all requests that
// it has and its connections. It stays listed, as a pod does whose containers
// crash, until the story takes it off the list.
func (w *world) crashAt(at time.Duration, s *server) {
	s.crashes = int64(at)
	w.at(s.crashes, func() {
		for _, c := range w.clients {
			c.disconnected(s)
		}
	})
}

// disconnected tells the policy that there is no connection to the server any
// more. Peers choose among those that are connected.
func (c *client) disconnected(s *server) {
	if p, ok := c.policy.(*product); ok {
		p.disconnected(s)
		return
	}
	c.policy.update(slices.DeleteFunc(slices.Clone(c.world.listed), func(o *server) bool { return o == s }))
}

// A rollout replaces all servers, some at a time.
type rollout struct {
	begins, every time.Duration
	batch         int           // how many at a time; 0 for one
	surge         time.Duration // how long before the old ones leave the new ones join
	fresh         newcomer      // what the new ones are like
}

// play plans the rollout.
func (o rollout) play(w *world) {
	at := o.begins
	for old := range slices.Chunk(slices.Clone(w.listed), max(o.batch, 1)) {
		if o.surge == 0 {
			w.after(at, func() { w.change(len(old), o.fresh, old) })
		} else {
			w.after(at, func() { w.change(len(old), o.fresh, nil) })
			w.after(at+o.surge, func() { w.change(0, nil, old) })
		}
		at += o.every
	}
}

// ends returns when the last of so many servers has been replaced for as long as
// it takes to replace one.
func (o rollout) ends(servers int) time.Duration {
	batch := max(o.batch, 1)
	return o.begins + time.Duration((servers+batch-1)/batch)*o.every
}
