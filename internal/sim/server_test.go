package main

import (
	"testing"
	"time"
)

// one is a world of one server with one worker, to which requests are sent by
// hand. It has no deadline unless told otherwise.
func one(deadline time.Duration, change func(s *server)) *world {
	w := newWorld(setup{
		servers: 1, workers: 1, clients: 1, demand: exponential(time.Second), rate: steady(1),
		deadline: deadline, length: time.Hour,
	}, roundRobinPeer, 1)
	change(w.servers[0])
	return w
}

// send plans a request that takes d.
func (w *world) send(at, d time.Duration) {
	w.at(int64(at), func() {
		c := w.clients[0]
		c.send(&request{client: c, sample: w.record.arrived(w.now, 0), arrived: w.now, demand: d})
	})
}

func (w *world) run(t *testing.T, want ...time.Duration) {
	t.Helper()
	for w.step(int64(time.Hour)) {
	}
	for i, d := range want {
		if got := time.Duration(w.record.samples[i].latency); got != d {
			t.Errorf("request %d took %v, want %v", i, got, d)
		}
	}
}

func TestWhoWaitsInTheQueueCountsFromItsArrival(t *testing.T) {
	w := one(0, func(*server) {})
	w.send(0, 10*time.Millisecond)
	w.send(time.Millisecond, 10*time.Millisecond)
	w.send(2*time.Millisecond, 10*time.Millisecond)
	w.run(t, 10*time.Millisecond, 19*time.Millisecond, 28*time.Millisecond)
}

func TestAPauseStopsWhatRunsAndWhatBegins(t *testing.T) {
	w := one(0, func(s *server) {
		s.workers = 2
		s.engine.after(5*time.Millisecond, func() { s.pause(100 * time.Millisecond) })
	})
	w.send(0, 10*time.Millisecond)
	w.send(50*time.Millisecond, 10*time.Millisecond) // 55 ms of the pause are left
	w.run(t, 110*time.Millisecond, 65*time.Millisecond)
}

func TestASlowServerTakesLonger(t *testing.T) {
	w := one(0, func(s *server) { s.slow = between(time.Second, 2*time.Second, 10) })
	for _, at := range []time.Duration{0, time.Second, 2 * time.Second} {
		w.send(at, 10*time.Millisecond)
	}
	w.run(t, 10*time.Millisecond, 100*time.Millisecond, 10*time.Millisecond)
}

func TestAFailureIsOneAndCountsUntilTheDeadline(t *testing.T) {
	w := one(time.Second, func(s *server) { s.failing = 1 })
	w.send(0, 10*time.Millisecond)
	w.run(t, time.Second)
	if failed(w.record.samples) != 100 || w.now != int64(time.Second) {
		t.Errorf("%v %% failed, at %v", failed(w.record.samples), w.now)
	}
}

func TestAHangingServerKeepsCallersUntilTheirDeadline(t *testing.T) {
	w := one(time.Second, func(s *server) { s.hung = true })
	w.send(0, 10*time.Millisecond)
	w.run(t, time.Second)
	if failed(w.record.samples) != 100 || w.servers[0].outstanding != 0 {
		t.Errorf("%v %% failed, %d are outstanding", failed(w.record.samples), w.servers[0].outstanding)
	}
}

func TestAServerWorksOffWhatItsCallersGaveUp(t *testing.T) {
	w := one(time.Second, func(*server) {})
	w.send(0, 3*time.Second)
	w.send(time.Second, 10*time.Millisecond) // waits for the first one, in vain
	w.send(2500*time.Millisecond, 10*time.Millisecond)
	w.run(t, time.Second, time.Second, 520*time.Millisecond)
}

func TestAFullQueueRefuses(t *testing.T) {
	w := one(time.Minute, func(s *server) { s.limit = 1 })
	for range 3 {
		w.send(0, time.Second)
	}
	w.run(t, time.Second, 2*time.Second, time.Minute)
}
