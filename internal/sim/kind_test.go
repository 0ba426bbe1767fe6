package main

import (
	"math"
	"testing"
	"time"
)

// kinds is a world of one server with one worker and requests of these kinds.
func kinds(all ...kind) *world {
	return newWorld(setup{
		servers: 1, workers: 1, clients: 1, demand: fixed(10 * time.Millisecond), rate: steady(1), kinds: all,
		deadline: time.Second, length: time.Hour,
	}, roundRobinPeer, 1)
}

// sendKind plans a request of a kind.
func (w *world) sendKind(at time.Duration, number int) {
	w.at(int64(at), func() { w.clients[0].send(w.newRequest(w.clients[0], number)) })
}

func TestARequestThatWaitsHoldsNoWorker(t *testing.T) {
	w := kinds(kind{}, kind{demand: fixed(time.Minute), deadline: noDeadline, waits: true})
	w.sendKind(0, 1)
	w.sendKind(time.Millisecond, 0)
	w.run(t, time.Minute, 10*time.Millisecond)
}

func TestEachKindHasItsDeadline(t *testing.T) {
	w := kinds(kind{}, kind{deadline: 4 * time.Millisecond})
	w.sendKind(0, 1)
	w.sendKind(0, 0)
	w.run(t, 4*time.Millisecond, 20*time.Millisecond) // the server works for the first one, too
}

func TestACallerThatHasSentTooManyIsRefusedAtOnce(t *testing.T) {
	w := kinds(kind{}, kind{limited: time.Minute})
	var refused *attempt
	w.at(0, func() {
		refused = &attempt{request: w.newRequest(w.clients[0], 1), server: w.servers[0]}
		w.servers[0].accept(refused)
	})
	w.run(t, time.Second) // a failure counts until the deadline
	if refused.spare != time.Minute || w.now > int64(time.Second) {
		t.Errorf("Retry-After is %v", refused.spare)
	}
}

func TestKindsAreDrawnByTheirShares(t *testing.T) {
	w := kinds(kind{share: 0.7}, kind{share: 0}, kind{share: 0.3})
	var counts [3]float64
	for range 10_000 {
		counts[w.drawKind()]++
	}
	if math.Abs(counts[0]-7000) > 200 || counts[1] != 0 {
		t.Errorf("drawn %v", counts)
	}
}

// A record of two clients and two servers: the first client gives the second
// server a quarter, and nothing between 10 and 14 s.
func uneven() *record {
	r := &record{setup: setup{servers: 2, clients: 2, length: 20 * time.Second}}
	for second := range 20 {
		at := int64(time.Duration(second) * time.Second)
		r.picks = append(r.picks, choice{at: at, server: 0, client: 0}, choice{at: at, server: 0, client: 1}, choice{at: at, server: 1, client: 1})
		if second%3 == 0 && (second < 10 || second > 14) {
			r.picks = append(r.picks, choice{at: at, server: 1, client: 0})
		}
	}
	return r
}

func TestTheWorstShareIsThatOfOneClientAndOneServer(t *testing.T) {
	r := uneven() // 20 to 6
	if got, want := leastShare(0, 20*time.Second, 20*time.Second)(r), 12.0/26; math.Abs(got-want) > 1e-9 {
		t.Errorf("least share %v, want %v", got, want)
	}
	if got, want := mostShare(0, 20*time.Second, 10*time.Second)(r), 20.0/12; math.Abs(got-want) > 1e-9 {
		t.Errorf("most share in 10 s %v, want %v", got, want)
	}
	if got := longestGap(r); got != 6 {
		t.Errorf("longest gap %v s, want 6", got)
	}
}

func TestTheBestPeerIsNeitherOursNorTheOracle(t *testing.T) {
	s := &scenario{
		contestants: []contestant{oraclePeer, p2cPeer, roundRobinPeer, sidestep("adaptive")},
		studies: []study{{columns: []column{{title: "ms"}}, direct: func(k contestant, _ uint64) []float64 {
			return []float64{map[string]float64{oraclePeer.name: 1, p2cPeer.name: 5, roundRobinPeer.name: 4, adaptive: 2}[k.name]}
		}}},
	}
	if got := bestPeer(2, "ms")(play(s, 1, 1)); got != 8 {
		t.Errorf("twice the best peer is %v, want 8", got)
	}
}
