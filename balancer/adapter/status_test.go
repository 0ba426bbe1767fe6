package adapter_test

import (
	"bytes"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/adapter"
	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/health"
)

// watched runs a test in virtual time with a Balancer that has a name, which is
// that of the test, and so many backends in the zones a and b by turns.
func watched(t *testing.T, config balancer.Config, n int, f func(t *testing.T, b *adapter.Balancer, zoned func(first, n int) []discovery.Endpoint)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b, err := adapter.New(config, adapter.Hooks{Name: t.Name(), Adapter: "test", Connect: connect})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Close)
		zoned := func(first, n int) []discovery.Endpoint {
			list := endpoints(first, n)
			for i := range list {
				list[i].Zone = string(rune('a' + (first+i)%2))
			}
			return list
		}
		b.Update(zoned(0, n))
		prove(t, b)
		f(t, b, zoned)
	})
}

func kinds(s balancer.Status) (kinds []balancer.EventKind) {
	for _, e := range s.Events {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

func total(t *testing.T) balancer.Total {
	t.Helper()
	for _, sum := range balancer.Totals() {
		if sum.Target == t.Name() {
			return sum
		}
	}
	t.Fatalf("there is no total of %s", t.Name())
	return balancer.Total{}
}

func TestRequestsAreCountedByZoneAndOutcomeEvenAfterTheirBackendHasLeft(t *testing.T) {
	watched(t, anyTurn, 4, func(t *testing.T, b *adapter.Balancer, zoned func(int, int) []discovery.Endpoint) {
		before, earlier := b.Status().Requests, total(t).Requests // of other Balancers, if the test runs again
		serve(t, b, 40, succeed)
		late := pick(t, b)
		lateZone := late.Endpoint().Zone
		b.Update(zoned(10, 2)) // all four leave, one with a request in flight
		after := b.Status().Requests
		for _, zone := range []string{"a", "b"} {
			if n := after[zone][health.Success] - before[zone][health.Success]; n != 20 {
				t.Errorf("zone %s: %d successes, want 20", zone, n)
			}
		}
		late.Done(health.Failure)
		if n := b.Status().Requests[lateZone][health.Failure]; n != 1 {
			t.Errorf("the request that ended after its backend had left is counted %d times", n)
		}
		b.Close()
		got := total(t).Requests[lateZone]
		for o, n := range map[health.Outcome]uint64{health.Failure: 1, health.Success: 20} {
			if n += earlier[lateZone][o]; got[o] != n {
				t.Errorf("after Close the total of %s is %d, want %d", o, got[o], n)
			}
		}
		if slices.ContainsFunc(balancer.Statuses(), func(s balancer.Status) bool { return s.Target == t.Name() }) {
			t.Error("a Balancer that is closed has a status")
		}
	})
}

func TestPicksThatNeverBecameRequestsAreNotCounted(t *testing.T) {
	watched(t, anyTurn, 2, func(t *testing.T, b *adapter.Balancer, _ func(int, int) []discovery.Endpoint) {
		before := total(t)
		for range 10 {
			p, err := b.Pick(adapter.Request{})
			if err != nil {
				t.Fatal(err)
			}
			p.Undo()
		}
		for zone, o := range total(t).Requests {
			if o != before.Requests[zone] {
				t.Errorf("zone %s: %v, before %v", zone, o, before.Requests[zone])
			}
		}
		for _, be := range b.Backends() {
			if be.InFlight() != 0 {
				t.Errorf("%d in flight", be.InFlight())
			}
		}
	})
}

func TestARequestIsCountedOnceAtItsEnd(t *testing.T) {
	watched(t, anyTurn, 1, func(t *testing.T, b *adapter.Balancer, _ func(int, int) []discovery.Endpoint) {
		count := func() balancer.Outcomes { return b.Status().Backends[0].Requests }
		before := count()
		r := pick(t, b)
		r.pick.Answered(adapter.Result{Outcome: health.Success})
		if n := count().Sum() - before.Sum(); n != 0 {
			t.Errorf("a request that is not done is counted %d times", n)
		}
		if s := b.Status().Backends[0]; s.InFlight != 1 || s.Answered != 1 {
			t.Errorf("in flight %d, answered %d", s.InFlight, s.Answered)
		}
		r.Done(health.Neutral)
		if got := count(); got.Sum()-before.Sum() != 1 || got[health.Success]-before[health.Success] != 1 {
			t.Errorf("at its end: %v, before it %v", got, before)
		}
		r = pick(t, b)
		r.pick.Answered(adapter.Result{Outcome: health.Success})
		r.Done(health.Failure)
		if got := count(); got.Sum()-before.Sum() != 2 || got[health.Failure]-before[health.Failure] != 1 {
			t.Errorf("after one that broke off: %v, before it %v", got, before)
		}
	})
}

func TestFailuresOfOneEventAreHeldAgainstABackendOnce(t *testing.T) {
	watched(t, anyTurn, 2, func(t *testing.T, b *adapter.Balancer, _ func(int, int) []discovery.Endpoint) {
		be := b.Backends()[0]
		requests := make([]*request, 20)
		for i := range requests {
			requests[i] = pick(t, b, b.Backends()[1])
		}
		for i := range requests {
			requests[i].pick.Done(adapter.Result{Outcome: health.Failure, SameEvent: i > 0})
		}
		if s := b.Status(); !be.Fit() || s.Requests[be.Endpoint().Zone][health.Failure] != 20 {
			t.Errorf("fit: %t, requests: %v", be.Fit(), s.Requests)
		}
	})
}

func TestTheStatusSaysWhyABackendIsOut(t *testing.T) {
	watched(t, balancer.Config{SlowStart: 30 * time.Second}, 4, func(t *testing.T, b *adapter.Balancer, zoned func(int, int) []discovery.Endpoint) {
		all := b.Backends()
		strike(t, b, all[0], 5, health.Failure)
		all[1].Observe(health.Unreachable)
		all[2].SetProbesFailing(true)
		b.Update(zoned(0, 5))
		synctest.Wait()
		got := make(map[netip.AddrPort]balancer.BackendStatus)
		s := b.Status()
		for _, be := range s.Backends {
			got[be.Addr] = be
		}
		for i, want := range []balancer.State{balancer.StateEjected, balancer.StateUnreachable, balancer.StateProbesFailing, balancer.StateFit} {
			if be := got[all[i].Endpoint().Addr]; be.State != want {
				t.Errorf("backend %d is %s, want %s", i, be.State, want)
			}
		}
		ejected, joining := got[all[0].Endpoint().Addr], got[zoned(4, 1)[0].Addr]
		if in := time.Until(ejected.Until); in < 500*time.Millisecond || in > time.Second {
			t.Errorf("the ejected one comes back in %v", in)
		}
		if in := time.Until(joining.Until); joining.State != balancer.StateJoining || in != 30*time.Second {
			t.Errorf("the new one is %s for %v", joining.State, in)
		}
		if s.Policy != balancer.Adaptive || s.Adapter != "test" || s.Counts.Ejections[health.Consecutive] != 1 || s.Counts.Newcomers != 1 {
			t.Errorf("policy %s, adapter %s, counts %+v", s.Policy, s.Adapter, s.Counts)
		}
	})
}

func TestEventsTellWhatHappenedInItsOrder(t *testing.T) {
	watched(t, anyTurn, 2, func(t *testing.T, b *adapter.Balancer, _ func(int, int) []discovery.Endpoint) {
		one := b.Backends()[0]
		strike(t, b, one, 5, health.Failure)
		pass(2 * time.Second)
		serve(t, b, 20, succeed)
		one.Observe(health.Unreachable)
		pass(time.Second)
		one.Observe(health.Success)
		one.SetProbesFailing(true)
		b.Backends()[1].SetProbesFailing(true)
		pass(time.Second)
		serve(t, b, 10, succeed)
		one.SetProbesFailing(false)
		pass(time.Second)
		want := []balancer.EventKind{
			balancer.EventEndpoints, balancer.EventEjected, balancer.EventReadmitted, balancer.EventUnreachable, balancer.EventReached,
			balancer.EventProbesFailing, balancer.EventProbesFailing, balancer.EventFailOpen, balancer.EventProbesPassing, balancer.EventFit,
		}
		s := b.Status()
		if got := kinds(s); !slices.Equal(got, want) {
			t.Errorf("events %v, want %v", got, want)
		}
		e := s.Events[1]
		if e.Backend != one.Endpoint().String() || !strings.HasPrefix(e.Detail, "consecutive_failures for ") || time.Since(e.At) < 5*time.Second {
			t.Errorf("event %+v", e)
		}
		if s.Counts.FailOpens != 10 || s.Counts.Readmissions != 1 || s.FailOpen {
			t.Errorf("counts %+v, fail open %t", s.Counts, s.FailOpen)
		}
	})
}

func TestNoMoreThanTheLatestEventsAreKept(t *testing.T) {
	watched(t, anyTurn, 2, func(t *testing.T, b *adapter.Balancer, _ func(int, int) []discovery.Endpoint) {
		one := b.Backends()[0]
		for range 100 {
			one.SetProbesFailing(true)
			one.SetProbesFailing(false)
		}
		events := b.Status().Events
		if len(events) != 64 || events[63].Kind != balancer.EventProbesPassing || events[62].Kind != balancer.EventProbesFailing {
			t.Errorf("%d events, the last %v", len(events), events[len(events)-1])
		}
	})
}

// buffer is an io.Writer for many goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) lines() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Split(strings.TrimSpace(b.b.String()), "\n")
}

func TestTheLogHasALineForWhatMattersAndNoFlood(t *testing.T) {
	var out buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&out, nil)))
	defer slog.SetDefault(before)
	watched(t, anyTurn, 4, func(t *testing.T, b *adapter.Balancer, zoned func(int, int) []discovery.Endpoint) {
		serve(t, b, 100, succeed)
		b.Update(zoned(2, 4)) // a rollout
		b.Backends()[0].Observe(health.Unreachable)
		b.Backends()[0].Observe(health.Success)
		pass(time.Second)
		if got := out.lines(); len(got) != 1 || got[0] != "" {
			t.Errorf("all is well, and the log says %q", got)
		}
		one := b.Backends()[0]
		strike(t, b, one, 5, health.Failure)
		got := out.lines()
		for _, want := range []string{"level=WARN", "backend ejected", "target=" + t.Name(), one.Endpoint().Addr.String(), "consecutive_failures"} {
			if len(got) != 1 || !strings.Contains(got[0], want) {
				t.Errorf("the log says %q, want %q", got, want)
			}
		}
		for range 50 {
			one.SetProbesFailing(true)
			one.SetProbesFailing(false)
		}
		synctest.Wait()
		if n := len(out.lines()); n != 10 {
			t.Errorf("%d lines in a moment, want 10", n)
		}
		pass(10 * time.Second)
		one.SetProbesFailing(true)
		synctest.Wait()
		got = out.lines()
		if last := got[len(got)-1]; !strings.Contains(last, "suppressed=91") {
			t.Errorf("the last line is %q, want it to say how many were suppressed", last)
		}
	})
}

func TestSamplesAreOfAFewRequestsWithTheirLatency(t *testing.T) {
	for _, policy := range []string{balancer.Adaptive, balancer.RoundRobin} {
		watched(t, balancer.Config{Policy: policy}, 2, func(t *testing.T, b *adapter.Balancer, _ func(int, int) []discovery.Endpoint) {
			var samples []balancer.Sample
			stop := balancer.SampleLatencies(func(s balancer.Sample) {
				if s.Target == t.Name() {
					samples = append(samples, s)
				}
			})
			request := func() {
				p, err := b.Pick(adapter.Request{})
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(1234567 * time.Nanosecond) // of virtual time
				synctest.Wait()
				p.Done(adapter.Result{Outcome: health.Success})
			}
			for range 8100 { // ten seconds of them
				request()
			}
			if len(samples) < 800 || len(samples) > 1000 {
				t.Errorf("%s: %d samples in ten seconds, want nearly a hundred a second", policy, len(samples))
			}
			zones := make(map[string]bool)
			for _, s := range samples {
				zones[s.Zone] = true
				if s.Latency != 1234567*time.Nanosecond || s.Outcome != health.Success || s.Adapter != "test" {
					t.Fatalf("%s: %+v", policy, s)
				}
			}
			if len(zones) != 2 {
				t.Errorf("%s: samples of the zones %v", policy, zones)
			}
			stop()
			stop()
			samples = nil
			for range 1000 {
				request()
			}
			if len(samples) > 0 {
				t.Errorf("%s: %d samples after the stop", policy, len(samples))
			}
		})
	}
}

// A gRPC channel's backends are connected after it was made: that they are fit then
// is no news.
func TestToBecomeFitForTheFirstTimeIsNoEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := adapter.New(anyTurn, adapter.Hooks{Name: t.Name(), Connect: connect, ConnectFirst: true})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		b.Update(endpoints(0, 2))
		for _, be := range b.Backends() {
			be.Observe(health.Success)
			pass(time.Second)
		}
		if got := kinds(b.Status()); !slices.Equal(got, []balancer.EventKind{balancer.EventEndpoints}) {
			t.Errorf("events %v", got)
		}
		for _, be := range b.Backends() {
			be.Observe(health.Unreachable)
		}
		pass(time.Second)
		b.Backends()[0].Observe(health.Success)
		pass(time.Second)
		want := []balancer.EventKind{
			balancer.EventEndpoints, balancer.EventUnreachable, balancer.EventUnreachable, balancer.EventNoneFit, balancer.EventReached, balancer.EventFit,
		}
		if got := kinds(b.Status()); !slices.Equal(got, want) {
			t.Errorf("events %v, want %v", got, want)
		}
	})
}

func TestThatNoBackendIsLeftDoesNotMeanThatTheyAreFitAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := adapter.New(anyTurn, adapter.Hooks{Name: t.Name(), Connect: connect, ConnectFirst: true})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		b.Update(endpoints(0, 1))
		only := b.Backends()[0]
		only.Observe(health.Success)
		pass(time.Second)
		only.Observe(health.Unreachable)
		pass(time.Second)
		b.Update(nil)
		if got := kinds(b.Status()); slices.Contains(got, balancer.EventFit) || !slices.Contains(got, balancer.EventNoneFit) {
			t.Errorf("events %v", got)
		}
		b.Update(endpoints(0, 1))
		b.Backends()[0].Observe(health.Success)
		pass(time.Second)
		if got := kinds(b.Status()); !slices.Contains(got, balancer.EventFit) {
			t.Errorf("events %v once there is a fit one", got)
		}
	})
}

func TestTracesNoteAttempts(t *testing.T) {
	watched(t, anyTurn, 2, func(t *testing.T, b *adapter.Balancer, _ func(int, int) []discovery.Endpoint) {
		var trace balancer.Trace
		if adapter.TraceFrom(balancer.WithTrace(t.Context(), &trace)) != &trace || adapter.TraceFrom(t.Context()) != nil {
			t.Error("a context does not keep its trace")
		}
		one, two := b.Backends()[0], b.Backends()[1]
		first := adapter.BeginAttempt(&trace, one, "")
		pass(time.Second)
		adapter.EndAttempt(&trace, first, 0, errOops)
		second := adapter.BeginAttempt(&trace, two, balancer.Broken)
		if got := trace.Attempts()[second]; got.Took != 0 || got.Reason != balancer.Broken {
			t.Errorf("while it is under way: %+v", got)
		}
		adapter.EndAttempt(&trace, second, 200, nil)
		got := trace.Attempts()
		if len(got) != 2 || got[0].Took != time.Second || !errors.Is(got[0].Err, errOops) || got[1].Status != 200 || got[1].Backend != two.Endpoint() {
			t.Errorf("%+v", got)
		}
		if trace.Target() != t.Name() || trace.Policy() != balancer.RoundRobin {
			t.Errorf("target %s, policy %s", trace.Target(), trace.Policy())
		}
		var none *balancer.Trace
		adapter.EndAttempt(none, adapter.BeginAttempt(none, one, ""), 0, nil)
	})
}

var errOops = errors.New("oops")
