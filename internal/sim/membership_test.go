package main

import (
	"testing"
	"time"
)

func TestAServerThatLeavesFinishesWhatItHas(t *testing.T) {
	w := newWorld(setup{
		servers: 2, workers: 1, clients: 1, demand: exponential(time.Second), rate: steady(1), length: time.Hour,
	}, roundRobinPeer, 1)
	for range 4 { // two at each, one of them in the queue
		w.send(0, 10*time.Millisecond)
	}
	w.after(time.Millisecond, func() { w.change(0, nil, w.servers[:1]) })
	for range 3 {
		w.send(30*time.Millisecond, 10*time.Millisecond)
	}
	w.run(t, 10*time.Millisecond, 10*time.Millisecond, 20*time.Millisecond, 20*time.Millisecond,
		10*time.Millisecond, 20*time.Millisecond, 30*time.Millisecond)
	for _, c := range w.record.picks[4:] {
		if c.server != 1 {
			t.Errorf("a request went to server %d, which had left", c.server)
		}
	}
}

func TestACrashEndsTheRequestsOfAServerAndKeepsItOutOfUse(t *testing.T) {
	for _, k := range everyday() {
		w := newWorld(setup{
			servers: 2, workers: 1, clients: 1, demand: exponential(time.Second), rate: steady(1), length: time.Hour,
		}, k, 1)
		w.crashAt(5*time.Millisecond, w.servers[0])
		w.send(0, 10*time.Millisecond)
		w.send(0, 10*time.Millisecond)
		for range 20 {
			w.send(6*time.Millisecond, time.Millisecond)
		}
		for w.step(int64(time.Hour)) {
		}
		broken, kept := 0, 0
		for i, c := range w.record.picks {
			switch {
			case i < 2 && c.server == 0:
				broken++
			case c.server == 0:
				kept++
			}
		}
		if failed := int(failed(w.record.samples)*float64(len(w.record.samples))/100 + 0.5); failed != broken {
			t.Errorf("%s: %d requests failed, %d were at the server that crashed", k.name, failed, broken)
		}
		if kept > 0 {
			t.Errorf("%s: %d requests went to a server that has crashed", k.name, kept)
		}
	}
}

func TestARolloutReplacesEachServerOnce(t *testing.T) {
	for _, c := range []struct {
		rollout rollout
		ends    time.Duration
		most    int // listed at once
	}{
		{rollout{begins: time.Second, every: time.Second}, 6 * time.Second, 5},
		{rollout{begins: time.Second, every: time.Second, batch: 2, surge: 100 * time.Millisecond}, 4 * time.Second, 7},
	} {
		w := newWorld(setup{servers: 5, workers: 1, clients: 1, demand: exponential(time.Second), rate: steady(1)}, roundRobinPeer, 1)
		c.rollout.play(w)
		if got := c.rollout.ends(5); got != c.ends {
			t.Errorf("it ends at %v, want %v", got, c.ends)
		}
		most := 0
		for w.step(int64(c.ends)) {
			most = max(most, len(w.listed))
		}
		if most != c.most {
			t.Errorf("%d servers at most, want %d", most, c.most)
		}
		if len(w.listed) != 5 || len(w.servers) != 10 {
			t.Errorf("%d of %d servers are listed, want 5 of 10", len(w.listed), len(w.servers))
		}
		for _, s := range w.listed {
			if s.id < 5 {
				t.Errorf("server %d has not been replaced", s.id)
			}
		}
	}
}

func TestANewcomerIsColdFromWhenItJoins(t *testing.T) {
	slow := cold(5, 8*time.Second)(20 * time.Second)
	for at, want := range map[time.Duration]float64{20 * time.Second: 5, 27 * time.Second: 5, 28 * time.Second: 1} {
		if got := slow(at); got != want {
			t.Errorf("at %v it is %v times slower, want %v", at, got, want)
		}
	}
}

func TestOursWithSpillOverStayInTheirZone(t *testing.T) {
	s := busy(4, 0.2, 20*time.Second)
	s.zones = zones{clients: 5, servers: 2}
	r := simulate(thin(s, 0.3), sidestep("round_robin"), 1)
	if got := atHome(r); got < 92 { // few requests: chance looks like a difference now and then
		t.Errorf("%.1f %% stay at home", got)
	}
	for _, c := range r.picks {
		if home := (c.client < 5) == (c.server < 2); home != c.home {
			t.Fatalf("client %d at server %d: at home is %v", c.client, c.server, c.home)
		}
	}
}
