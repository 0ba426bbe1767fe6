package adapter_test

import (
	"testing"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/adapter"
	"github.com/sidestep-lb/sidestep/health"
)

// stream picks be and lets it answer: the request goes on, as a stream does.
func stream(b *adapter.Balancer, be *adapter.Backend) *request {
	r := &request{be, b.Take(be)}
	r.pick.Answered(adapter.Result{Outcome: health.Success})
	return r
}

func TestAnsweredRequestsCountForAsMuchAsTheConfigSays(t *testing.T) {
	for _, policy := range []string{balancer.LeastRequest, balancer.Adaptive} {
		for _, c := range []struct {
			load    float64 // of the config
			streams int
			avoided bool // the backend that has them, when the other has one waiting
		}{{0, 3, true}, {1, 3, true}, {0.1, 3, false}, {0.1, 40, true}, {-1, 1000, false}} {
			inTime(t, balancer.Config{Policy: policy, AnsweredLoad: c.load}, 2, func(t *testing.T, b *adapter.Balancer) {
				talks, works := b.Backends()[0], b.Backends()[1]
				pass(10 * time.Second) // what was measured when they proved themselves is equal
				var streams []*request
				for range c.streams {
					streams = append(streams, stream(b, talks))
				}
				waiting := b.Take(works)
				if n := serve(t, b, 200, succeed)[talks]; (n < 100) != c.avoided {
					t.Errorf("%s, answeredLoad %v: with %d streams it got %d of 200, the other one has a request waiting", policy, c.load, c.streams, n)
				}
				waiting.Done(adapter.Result{Outcome: health.Success})
				for _, s := range streams {
					s.Done(health.Success)
				}
				if talks.InFlight() != 0 || works.InFlight() != 0 {
					t.Errorf("in flight %d and %d at the end", talks.InFlight(), works.InFlight())
				}
			})
		}
	}
}

func TestMaxInFlightCountsAnsweredRequestsInFull(t *testing.T) {
	inTime(t, balancer.Config{Policy: balancer.LeastRequest, AnsweredLoad: -1, MaxInFlight: 2}, 1, func(t *testing.T, b *adapter.Balancer) {
		only := b.Backends()[0]
		one, two := stream(b, only), stream(b, only)
		if _, err := b.Pick(adapter.Request{}); err != balancer.ErrBusy { //nolint:errorlint // Pick promises this very error
			t.Errorf("a third request: %v", err)
		}
		one.Done(health.Success)
		two.Done(health.Success)
	})
}

func TestTakeReachesABackendThatIsOutAndCountsThere(t *testing.T) {
	inTime(t, anyTurn, 2, func(t *testing.T, b *adapter.Balancer) {
		out := b.Backends()[0]
		strike(t, b, out, 5, health.Failure)
		if out.Fit() {
			t.Fatal("it is not out")
		}
		p := b.Take(out)
		if p.Backend() != out || out.InFlight() != 1 {
			t.Errorf("took %v with %d in flight", p.Backend(), out.InFlight())
		}
		p.Done(adapter.Result{Outcome: health.Neutral})
		if out.InFlight() != 0 {
			t.Errorf("%d in flight at the end", out.InFlight())
		}
	})
}

func TestARequestThatAnotherBackendAnsweredFirstMakesThisOneSlowAndNoFailure(t *testing.T) {
	inTime(t, balancer.Config{}, 2, func(t *testing.T, b *adapter.Balancer) {
		slow := b.Backends()[0]
		for range 10 {
			p := b.Take(slow)
			pass(100 * time.Millisecond)
			p.Done(adapter.Result{Outcome: health.Neutral, CensoredLatency: true})
			fast := b.Take(b.Backends()[1])
			pass(time.Millisecond)
			fast.Done(adapter.Result{Outcome: health.Success})
		}
		if !slow.Fit() {
			t.Error("it was ejected")
		}
		if n := serve(t, b, 100, succeed)[slow]; n != 0 {
			t.Errorf("it got %d of 100 requests, though it takes a hundred times as long as the other", n)
		}
	})
}

// With hedges that are sent after a millisecond, a backend that hangs is never
// seen to take longer than that.
func TestABackendWhoseRequestsAreAllOvertakenIsAvoided(t *testing.T) {
	inTime(t, balancer.Config{}, 3, func(t *testing.T, b *adapter.Balancer) {
		hangs := b.Backends()[0]
		asked := 0
		for range 300 {
			p, err := b.Pick(adapter.Request{})
			if err != nil {
				t.Fatal(err)
			}
			pass(time.Millisecond)
			if p.Backend() == hangs {
				asked++
				p.Done(adapter.Result{CensoredLatency: true})
			} else {
				p.Done(adapter.Result{Outcome: health.Success})
			}
		}
		if asked > 30 {
			t.Errorf("it got %d of 300 requests", asked)
		}
		// And when it answers again it is soon back.
		pass(10 * time.Second)
		if n := serve(t, b, 300, succeed)[hangs]; n < 50 {
			t.Errorf("it got %d of 300 requests when it answered again", n)
		}
	})
}

func TestATimeShorterThanTheLatencySaysNothing(t *testing.T) {
	inTime(t, balancer.Config{}, 2, func(t *testing.T, b *adapter.Balancer) {
		for range 100 {
			for _, be := range b.Backends() {
				p := b.Take(be)
				pass(50 * time.Millisecond)
				p.Done(adapter.Result{Outcome: health.Success})
			}
		}
		one := b.Backends()[0]
		for range 20 {
			p := b.Take(one)
			pass(time.Millisecond)
			p.Done(adapter.Result{Outcome: health.Neutral, CensoredLatency: true})
		}
		if n := serve(t, b, 200, func(*adapter.Backend) health.Outcome { return health.Neutral })[one]; n > 120 {
			t.Errorf("it got %d of 200 requests: it passes for faster than it is", n)
		}
	})
}

// What it takes to connect is not what a request takes.
func TestTheTimeUntilARequestIsSentIsNoLatency(t *testing.T) {
	inTime(t, balancer.Config{}, 2, func(t *testing.T, b *adapter.Balancer) {
		one, other := b.Backends()[0], b.Backends()[1]
		p := b.Take(one)
		pass(time.Second) // it is being connected
		if n := serve(t, b, 100, func(*adapter.Backend) health.Outcome { return health.Neutral })[one]; n > 10 {
			t.Errorf("while it is being connected it gets %d of 100 requests", n)
		}
		p.Sent()
		pass(time.Millisecond)
		p.Done(adapter.Result{Outcome: health.Success})
		p = b.Take(other)
		pass(time.Millisecond)
		p.Done(adapter.Result{Outcome: health.Success})
		if n := serve(t, b, 300, func(*adapter.Backend) health.Outcome { return health.Neutral })[one]; n < 100 {
			t.Errorf("when it is connected it gets %d of 300 requests", n)
		}
		if one.InFlight() != 0 {
			t.Errorf("%d in flight", one.InFlight())
		}
	})
}
