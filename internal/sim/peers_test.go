package main

import (
	"math"
	"testing"
	"time"
)

// idle is a world in which nobody sends anything.
func idle(servers int, k contestant) *world {
	return newWorld(setup{servers: servers, workers: 1, clients: 1, demand: exponential(time.Second), rate: steady(1)}, k, 1)
}

func TestRoundRobinTakesTurns(t *testing.T) {
	w := idle(3, roundRobinPeer)
	first := w.clients[0].policy.pick(nil).id
	for i := 1; i < 10; i++ {
		if got := w.clients[0].policy.pick(nil).id; got != (first+i)%3 {
			t.Fatalf("pick %d is server %d after %d at first", i, got, first)
		}
	}
}

// A server that never finishes gets 1/n² of the requests from gRPC's
// least_request, whose draws may be twice the same, and none from p2c.
func TestDrawsWithReplacementKeepAHangingServerInUse(t *testing.T) {
	for _, c := range []struct {
		peer contestant
		want float64
	}{{leastRequestPeer, 1.0 / 16}, {p2cPeer, 0}} {
		w := idle(4, c.peer)
		p := w.clients[0].policy
		hung := 0
		const picks = 100_000
		for range picks {
			a := &attempt{}
			if a.server = p.pick(a); a.server.id == 0 {
				hung++ // and is never done
			} else {
				p.done(a, success)
			}
		}
		if got := float64(hung) / picks; math.Abs(got-c.want) > 0.005 {
			t.Errorf("%s: %.4f of the picks, want %.4f", c.peer.name, got, c.want)
		}
	}
}

func TestPeakEWMAJumpsUpAndDecays(t *testing.T) {
	near := func(got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-9*want {
			t.Errorf("cost %v, want %v", got, want)
		}
	}
	var c peakCost
	c.pending = 2
	near(c.get(0), peakUnknown+2) // never answered
	c.observe(0, 1000)
	near(c.get(0), 3000) // cost × (pending + 1)
	tau := int64(peakDecay)
	near(c.get(tau), 3000/math.E) // decays towards zero
	c.observe(tau, 200)           // less than 1000/e at this moment: no time has passed, so nothing changes
	near(c.get(tau), 3000/math.E)
	c.observe(2*tau, 200)
	near(c.cost, 200*(1-1/math.E)+1000/math.E/math.E)
	c.observe(2*tau, 5000) // a peak
	near(c.cost, 5000)
	c.pending = 0
	near(c.get(2*tau), 5000)
}

func TestPeakEWMATakesTheCheaper(t *testing.T) {
	w := idle(2, peakEWMAPeer)
	p := w.clients[0].policy.(*peakEWMA)
	p.costs[0].observe(0, 100)
	p.costs[1].observe(0, 250)
	for i, want := range []int{0, 0, 1} { // 100 < 250, 200 < 250, 300 > 250
		if got := p.pick(nil).id; got != want {
			t.Errorf("pick %d is server %d, want %d", i, got, want)
		}
	}
}

// outliers is a policy with outlier detection, and the outcomes of one
// interval.
func outliers(servers int) (*world, *outlierDetection) {
	w := idle(servers, guarded(roundRobinPeer))
	return w, w.clients[0].policy.(*outlierDetection)
}

func (d *outlierDetection) observe(id, successes, failures int) {
	d.state[id].successes += successes
	d.state[id].failures += failures
}

func (w *world) runUntil(t time.Duration) {
	for w.step(int64(t)) {
	}
}

func TestOutlierDetectionNeedsFiveServersWithEnoughRequests(t *testing.T) {
	for _, c := range []struct {
		servers, requests int
		ejected           float64
	}{{4, 1000, 0}, {5, 49, 0}, {5, 50, 20}, {10, 1000, 10}} {
		w, d := outliers(c.servers)
		d.observe(0, 0, c.requests)
		for id := 1; id < c.servers; id++ {
			d.observe(id, c.requests, 0)
		}
		w.runUntil(a50Interval)
		if got := d.ejected(); got != c.ejected {
			t.Errorf("%d servers, %d requests each: %v %% ejected, want %v", c.servers, c.requests, got, c.ejected)
		}
	}
}

func TestOutlierDetectionEjectsAHalfFailingServerByItsSuccessRate(t *testing.T) {
	w, d := outliers(10)
	d.observe(3, 50, 50)
	for id := range 10 {
		if id != 3 {
			d.observe(id, 100, 0)
		}
	}
	w.runUntil(a50Interval)
	for range 100 {
		if d.pick(nil).id == 3 {
			t.Fatal("an ejected server was picked")
		}
	}
}

func TestOutlierDetectionEjectsNoMoreThanATenthOfTheServers(t *testing.T) {
	w, d := outliers(20)
	for id := range 20 {
		if id < 5 {
			d.observe(id, 0, 100)
		} else {
			d.observe(id, 100, 0)
		}
	}
	w.runUntil(a50Interval)
	if got := d.ejected(); got != 10 {
		t.Errorf("%v %% ejected", got)
	}
}

func TestOutlierDetectionEjectsForLongerEachTime(t *testing.T) {
	w, d := outliers(10)
	fails := func() {
		d.observe(0, 0, 1000)
		for id := 1; id < 10; id++ {
			d.observe(id, 1000, 0)
		}
	}
	fails()
	w.runUntil(10 * time.Second)
	out := func(want bool) {
		t.Helper()
		if got := d.state[0].ejected; got != want {
			t.Errorf("at %v ejected is %v", time.Duration(w.now), got)
		}
	}
	out(true)
	w.runUntil(40 * time.Second) // 30 s are not over before the sweep after them
	out(true)
	w.runUntil(50 * time.Second)
	out(false)
	fails()
	w.runUntil(60 * time.Second)
	out(true)
	w.runUntil(120 * time.Second)
	out(true)
	w.runUntil(130 * time.Second)
	out(false)
}

func TestTheOracleAvoidsWhatNoClientSees(t *testing.T) {
	w := idle(6, oraclePeer)
	w.servers[0].failing = 1
	w.servers[1].hung = true
	w.servers[2].slow = always(2)
	w.servers[3].outstanding = 2 // of other clients
	w.servers[4].pause(time.Minute)
	for range 100 {
		if got := w.clients[0].policy.pick(nil).id; got != 5 {
			t.Fatalf("server %d", got)
		}
	}
}

func TestWeightedRoundRobinFollowsItsWeights(t *testing.T) {
	w := idle(3, weightedPeer)
	p := w.clients[0].policy.(*weightedRoundRobin)
	p.weights = []float64{strideScale, strideScale / 2, strideScale / 4}
	var picks [3]float64
	for range 70_000 {
		picks[p.pick(nil).id]++
	}
	for i, want := range []float64{40_000, 20_000, 10_000} {
		if math.Abs(picks[i]-want) > 100 {
			t.Errorf("server %d: %.0f picks, want %.0f", i, picks[i], want)
		}
	}
}

func TestTheRingMovesFewKeysWhenAServerLeaves(t *testing.T) {
	w := idle(10, ringHashPeer)
	p := w.clients[0].policy
	const keys = 10_000
	choose := func() (chosen [keys]int) {
		for key := range chosen {
			chosen[key] = p.pick(&attempt{request: &request{key: scatter(uint64(key))}}).id
		}
		return chosen
	}
	before, moved := choose(), 0
	p.update(w.servers[1:])
	for key, id := range choose() {
		if id == 0 {
			t.Fatal("the server that left was picked")
		}
		if id != before[key] {
			moved++
		}
	}
	if moved > keys*3/10 { // a tenth must, and the ring is cut anew for nine
		t.Errorf("%d of %d keys moved", moved, keys)
	}
}

func TestTheThrottleStopsRetriesWhileHalfOfTheTokensAreGone(t *testing.T) {
	b := throttle{tokens: a6MaxTokens}
	for range 4 {
		b.observe(failure)
	}
	if !b.withdraw(0) {
		t.Error("six tokens are left, and no retry is allowed")
	}
	b.observe(timeout)
	if b.withdraw(0) {
		t.Error("half of the tokens are gone, and a retry is allowed")
	}
	for range 11 {
		b.observe(success)
	}
	if !b.withdraw(0) {
		t.Error("successes do not bring retries back")
	}
}
