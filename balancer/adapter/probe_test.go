package adapter_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/adapter"
	"github.com/sidestep-lb/sidestep/health"
)

// ejectOne ejects a backend and waits until its probe is due.
func ejectOne(t *testing.T, b *adapter.Balancer) *adapter.Backend {
	t.Helper()
	bad := b.Backends()[0]
	strike(t, b, bad, 5, health.Failure)
	if bad.Fit() {
		t.Fatal("it is not ejected")
	}
	pass(time.Second)
	return bad
}

// probeOf makes the request that is the probe of bad.
func probeOf(t *testing.T, b *adapter.Balancer, bad *adapter.Backend, r adapter.Request) adapter.Pick {
	t.Helper()
	p, err := b.Pick(r)
	if err != nil {
		t.Fatal(err)
	}
	if p.Backend() != bad {
		t.Fatal("the next request is no probe")
	}
	return p
}

func TestAProbeThatIsASilentStreamBringsABackendBackAfterASecond(t *testing.T) {
	for _, policy := range balancer.Policies() {
		config := balancer.Config{Policy: policy, AnsweredLoad: -1} // the stream itself is no load
		inTime(t, config, 3, func(t *testing.T, b *adapter.Balancer) {
			bad := ejectOne(t, b)
			p := probeOf(t, b, bad, adapter.Request{Stream: true})
			pass(999 * time.Millisecond)
			if bad.Fit() {
				t.Errorf("%s: it is back before a second is over", policy)
			}
			pass(time.Millisecond)
			if !bad.Fit() {
				t.Errorf("%s: it is not back after a second", policy)
			}
			if n := serve(t, b, 300, succeed)[bad]; n < 60 {
				t.Errorf("%s: while the stream goes on it gets %d of 300 requests", policy, n)
			}
			p.Done(adapter.Result{Outcome: health.Success})
			if bad.InFlight() != 0 || !bad.Fit() {
				t.Errorf("%s: after the stream: in flight %d, fit %t", policy, bad.InFlight(), bad.Fit())
			}
		})
	}
}

func TestAStreamThatFailsAsAProbeKeepsABackendOut(t *testing.T) {
	inTime(t, anyTurn, 3, func(t *testing.T, b *adapter.Balancer) {
		bad := ejectOne(t, b)
		p := probeOf(t, b, bad, adapter.Request{Stream: true})
		pass(500 * time.Millisecond)
		p.Done(adapter.Result{Outcome: health.Failure})
		pass(500 * time.Millisecond) // the second of the probe ends
		if bad.Fit() {
			t.Error("it is back")
		}
		if n := serve(t, b, 100, succeed)[bad]; n != 0 {
			t.Errorf("it got %d requests within a second of its failure", n)
		}
	})
}

func TestASilentProbeIsFollowedByAnotherOneEachSecond(t *testing.T) {
	for _, policy := range balancer.Policies() {
		inTime(t, balancer.Config{Policy: policy}, 3, func(t *testing.T, b *adapter.Balancer) {
			bad := ejectOne(t, b)
			for range 5 {
				probeOf(t, b, bad, adapter.Request{}) // and it is silent
				pass(999 * time.Millisecond)
				if n := serve(t, b, 100, succeed)[bad]; n != 0 {
					t.Errorf("%s: it got %d requests beside a probe", policy, n)
				}
				pass(time.Millisecond)
				if bad.Fit() {
					t.Errorf("%s: it is back without an answer", policy)
				}
			}
			p := probeOf(t, b, bad, adapter.Request{})
			p.Done(adapter.Result{Outcome: health.Success})
			synctest.Wait()
			if !bad.Fit() {
				t.Errorf("%s: it is not back after an answer", policy)
			}
		})
	}
}

func TestALongPollAsAProbeBringsABackendBackIfItsLikeTakeAsLong(t *testing.T) {
	onStage(t, balancer.Config{}, 3, func(t *testing.T, s *stage) {
		poll := polls(time.Second, 20*time.Second)
		s.play(t, time.Minute, poll) // how long they take is known now
		bad := ejectOne(t, s.Balancer)
		probeOf(t, s.Balancer, bad, poll.request)
		pass(time.Second)
		if !bad.Fit() {
			t.Error("it is not back after a second")
		}
	})
}

// The answer to an earlier probe comes when the next one is under way.
func TestALateAnswerToAProbeCounts(t *testing.T) {
	inTime(t, anyTurn, 3, func(t *testing.T, b *adapter.Balancer) {
		bad := ejectOne(t, b)
		first := probeOf(t, b, bad, adapter.Request{})
		pass(time.Second)
		second := probeOf(t, b, bad, adapter.Request{})
		first.Done(adapter.Result{Outcome: health.Success})
		synctest.Wait()
		if !bad.Fit() {
			t.Error("it is not back")
		}
		second.Done(adapter.Result{Outcome: health.Success})
		pass(2 * time.Second)
		if !bad.Fit() || bad.InFlight() != 0 {
			t.Errorf("later: fit %t, in flight %d", bad.Fit(), bad.InFlight())
		}
	})
}
