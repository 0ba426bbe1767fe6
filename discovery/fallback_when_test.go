package discovery_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidestep-lb/sidestep/discovery"
)

func pass(d time.Duration) {
	time.Sleep(d) // of virtual time
	synctest.Wait()
}

func TestTheFallbackIsAskedWhenThePrimaryIsSilentForASecond(t *testing.T) {
	withFallback(t, func(t *testing.T, sub *discovery.Subscription, primary, secondary *hand) {
		p := <-primary.receivers
		pass(999 * time.Millisecond)
		if secondary.runs.Load() != 0 {
			t.Error("the secondary is asked before a second has passed")
		}
		pass(time.Millisecond)
		(<-secondary.receivers).Update(snapshot("10.0.0.2:80"))
		if v := sub.View(); addrs(v.Snapshot) != "10.0.0.2:80" || v.Snapshot.Degraded == nil || v.Err != nil {
			t.Errorf("view %+v, want that of the secondary, degraded", v)
		}
		p.Update(snapshot("10.0.0.1:80")) // late, and better
		if v := sub.View(); addrs(v.Snapshot) != "10.0.0.1:80" || v.Snapshot.Degraded != nil || secondary.ended.Load() != 1 {
			t.Errorf("view %+v, want that of the primary alone", v)
		}
	})
}

func TestAPrimaryThatSaysSomethingInTimeIsNotOvertaken(t *testing.T) {
	withFallback(t, func(t *testing.T, sub *discovery.Subscription, primary, secondary *hand) {
		(<-primary.receivers).Update(snapshot("10.0.0.1:80"))
		pass(time.Hour)
		if secondary.runs.Load() != 0 {
			t.Error("the secondary is asked")
		}
	})
}

func TestASilentPrimaryCostsASecondOnceForAllTargets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		primary, secondary := newHand(), newHand()
		source := discovery.Fallback(primary, secondary)
		first := func(name string) (discovery.Receiver, time.Duration) {
			start := time.Now()
			sub := discovery.Watch(source, target(t, name))
			t.Cleanup(sub.Close)
			p := <-primary.receivers
			(<-secondary.receivers).Update(snapshot("10.0.0.2:80"))
			if _, err := sub.First(t.Context()); err != nil {
				t.Fatal(err)
			}
			return p, time.Since(start)
		}
		p, after := first("k8s:///s0:80")
		if after != time.Second {
			t.Errorf("the first target waits %v", after)
		}
		for i := range 4 {
			if _, after := first(fmt.Sprintf("k8s:///s%d:80", i+1)); after != 0 {
				t.Errorf("a further target waits %v", after)
			}
		}
		p.Update(snapshot("10.0.0.1:80")) // it answers for one: it can be waited for again
		if _, after := first("k8s:///s5:80"); after != time.Second {
			t.Errorf("once the primary has answered, a target waits %v", after)
		}
	})
}

func TestThatAPrimaryIsSilentIsKnownWithoutUsersForAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		primary, secondary := newHand(), newHand()
		source := discovery.Fallback(primary, secondary)
		resolve := func() time.Duration {
			start := time.Now()
			sub := discovery.Watch(source, target(t, "k8s:///quiz:80"))
			defer sub.Close()
			<-primary.receivers
			(<-secondary.receivers).Update(snapshot("10.0.0.2:80"))
			return time.Since(start)
		}
		resolve()
		pass(30 * time.Second)
		if after := resolve(); after != 0 {
			t.Errorf("half a minute later a target waits %v", after)
		}
		pass(2 * time.Minute)
		if after := resolve(); after != time.Second {
			t.Errorf("two minutes later a target waits %v", after)
		}
	})
}

var errRefuses = fmt.Errorf("%w: add this Role", discovery.ErrForbidden)

func TestTheLastSnapshotStaysThroughAnOutageWhileItWorks(t *testing.T) {
	withFallback(t, func(t *testing.T, sub *discovery.Subscription, primary, secondary *hand) {
		p := <-primary.receivers
		p.Update(snapshot("10.0.0.1:80"))
		for range 600 {
			p.Error(errDown)
			pass(time.Minute)
		}
		if v := sub.View(); secondary.runs.Load() != 0 || addrs(v.Snapshot) != "10.0.0.1:80" || !v.Stale() {
			t.Errorf("view %+v after %d runs of the secondary", v, secondary.runs.Load())
		}
	})
}

func TestTheFallbackStandsInOnceTheLastEndpointsCannotBeReached(t *testing.T) {
	for name, lose := range map[string]func(p discovery.Receiver, sub *discovery.Subscription){
		"reported after the failure": func(p discovery.Receiver, sub *discovery.Subscription) { p.Error(errDown); sub.Unreachable() },
		"reported before it is found out": func(p discovery.Receiver, sub *discovery.Subscription) {
			sub.Unreachable()
			pass(45 * time.Second)
			p.Error(errDown)
		},
	} {
		t.Run(name, func(t *testing.T) {
			withFallback(t, func(t *testing.T, sub *discovery.Subscription, primary, secondary *hand) {
				p := <-primary.receivers
				p.Update(snapshot("10.0.0.1:80"))
				lose(p, sub)
				s := <-secondary.receivers
				s.Error(errors.New("SERVFAIL"))
				if v := sub.View(); addrs(v.Snapshot) != "10.0.0.1:80" || !errors.Is(v.Err, errDown) {
					t.Errorf("view %+v before the secondary knows anything", v)
				}
				s.Update(snapshot("10.0.0.2:80"))
				if v := sub.View(); addrs(v.Snapshot) != "10.0.0.2:80" || v.Err != nil || !errors.Is(v.Snapshot.Degraded, errDown) {
					t.Errorf("view %+v, want that of the secondary, degraded", v)
				}
				p.Update(snapshot("10.0.0.3:80"))
				if v := sub.View(); addrs(v.Snapshot) != "10.0.0.3:80" || v.Snapshot.Degraded != nil || secondary.ended.Load() != 1 {
					t.Errorf("view %+v, want that of the primary", v)
				}
			})
		})
	}
}

func TestEndpointsThatCannotBeReachedAreNoReasonWhileThePrimaryAnswers(t *testing.T) {
	withFallback(t, func(t *testing.T, sub *discovery.Subscription, primary, secondary *hand) {
		p := <-primary.receivers
		p.Update(snapshot("10.0.0.1:80"))
		for range 100 {
			sub.Unreachable()
			sub.Refresh()
			pass(time.Second)
		}
		p.Update(snapshot("10.0.0.1:80"))
		if secondary.runs.Load() != 0 {
			t.Error("the secondary is asked")
		}
		pass(2 * time.Minute)
		p.Error(errDown) // long after the last complaint
		synctest.Wait()
		if secondary.runs.Load() != 0 {
			t.Error("the secondary is asked for what was long ago")
		}
	})
}

func TestTheFallbackStandsInForAPrimaryThatRefusesTimeAfterTime(t *testing.T) {
	for _, refusal := range []error{errRefuses, fmt.Errorf("read: %w", discovery.ErrUnauthenticated)} {
		withFallback(t, func(t *testing.T, sub *discovery.Subscription, primary, secondary *hand) {
			p := <-primary.receivers
			p.Update(snapshot("10.0.0.1:80"))
			for range 3 { // once or twice may be a token that has just been replaced
				p.Error(refusal)
				pass(time.Second)
				p.Error(refusal)
				pass(time.Second)
				p.Update(snapshot("10.0.0.1:80"))
			}
			for range 3 {
				if secondary.runs.Load() != 0 {
					t.Error("the secondary is asked too soon")
				}
				p.Error(refusal)
				pass(3 * time.Second)
			}
			(<-secondary.receivers).Update(snapshot("10.0.0.2:80"))
			if v := sub.View(); addrs(v.Snapshot) != "10.0.0.2:80" || !errors.Is(v.Snapshot.Degraded, refusal) {
				t.Errorf("view %+v, want that of the secondary, degraded", v)
			}
		})
	}
}

// A partialError is why the Service cannot be read, while its slices can.
type partialError struct{ error }

func (partialError) Partial() bool   { return true }
func (e partialError) Unwrap() error { return e.error }

func TestWhatTheEndpointsDoNotDependOnIsNoReason(t *testing.T) {
	withFallback(t, func(t *testing.T, sub *discovery.Subscription, primary, secondary *hand) {
		p := <-primary.receivers
		p.Update(snapshot("10.0.0.1:80"))
		for range 100 {
			p.Error(partialError{errRefuses})
			sub.Unreachable()
			pass(time.Second)
		}
		if v := sub.View(); secondary.runs.Load() != 0 || !v.Stale() {
			t.Errorf("view %+v after %d runs of the secondary", v, secondary.runs.Load())
		}
	})
}

func TestTroubleThatGoesOnForAMinuteOfFailureIsAReason(t *testing.T) {
	withFallback(t, func(t *testing.T, sub *discovery.Subscription, primary, secondary *hand) {
		p := <-primary.receivers
		p.Update(snapshot("10.0.0.1:80", "10.0.0.2:80"))
		p.Error(errDown)
		for range 59 {
			sub.Refresh()
			pass(time.Second)
		}
		if secondary.runs.Load() != 0 {
			t.Error("the secondary is asked too soon")
		}
		sub.Refresh()
		pass(time.Second)
		sub.Refresh()
		s := <-secondary.receivers
		s.Update(snapshot("10.0.0.2:80", "10.0.0.3:80"))
		if v := sub.View(); addrs(v.Snapshot) != "10.0.0.2:80 10.0.0.3:80" {
			t.Errorf("view %+v", v)
		}
	})
}

func TestAnEmptyViewIsNotKeptThroughAnOutage(t *testing.T) {
	withFallback(t, func(t *testing.T, sub *discovery.Subscription, primary, secondary *hand) {
		p := <-primary.receivers
		p.Update(snapshot())
		p.Error(errDown)
		s := <-secondary.receivers
		s.Update(&discovery.Snapshot{Reason: discovery.ErrServiceNotFound}) // DNS does not know of any either
		if v := sub.View(); v.Snapshot == nil || v.Snapshot.Reason != nil || !v.Stale() {
			t.Errorf("view %+v", v)
		}
		s.Update(snapshot("10.0.0.2:80"))
		if v := sub.View(); addrs(v.Snapshot) != "10.0.0.2:80" || v.Err != nil {
			t.Errorf("view %+v, want what the secondary has found", v)
		}
	})
}

func TestEndpointsThatBothKnowStayWhatTheyWere(t *testing.T) {
	withFallback(t, func(t *testing.T, sub *discovery.Subscription, primary, secondary *hand) {
		p := <-primary.receivers
		known := snapshot("10.0.0.1:8080", "10.0.0.2:8080")
		for i := range known.Endpoints {
			e := &known.Endpoints[i]
			e.UID, e.Node, e.Zone, e.AppProtocol = fmt.Sprint("uid-", i), "node-1", "zone-1", "kubernetes.io/h2c"
		}
		p.Update(known)
		p.Error(errDown)
		sub.Unreachable()
		s := <-secondary.receivers
		s.Update(snapshot("10.0.0.1:80", "10.0.0.2:80")) // the same pods: DNS cannot tell their port
		if v := sub.View(); v.Snapshot != known || !v.Stale() {
			t.Errorf("view %+v, want the last one, as nothing has changed", v)
		}
		s.Update(snapshot("10.0.0.2:80", "10.0.0.3:80"))
		got := sub.View().Snapshot.Endpoints
		if len(got) != 2 || !got[0].Equal(&known.Endpoints[1]) {
			t.Fatalf("endpoints %+v, want the second as it was", got)
		}
		if e := got[1]; e.Addr.String() != "10.0.0.3:8080" || e.AppProtocol != "kubernetes.io/h2c" || e.UID != "" {
			t.Errorf("the new one is %+v, want the port and the protocol of the others", e)
		}
		s.Update(snapshot("10.96.0.1:80")) // a cluster IP has the Service's own port
		if got := addrs(sub.View().Snapshot); got != "10.96.0.1:80" {
			t.Errorf("endpoints %s", got)
		}
	})
}

func TestOverdueEndsWaitsWithoutADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := newHand()
		sub := discovery.Watch(source, target(t, "k8s:///quiz:80"))
		defer sub.Close()
		r := <-source.receivers
		start := time.Now()
		r.Error(errDown)
		if _, err := sub.First(context.Background()); !errors.Is(err, errDown) || time.Since(start) != 5*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if _, err := sub.First(context.Background()); !errors.Is(err, errDown) || time.Since(start) != 5*time.Second {
			t.Errorf("the next one: %v after %v", err, time.Since(start))
		}
		if v := sub.View(); !v.Overdue {
			t.Errorf("view %+v", v)
		}
		limited, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		time.AfterFunc(30*time.Second, func() { r.Update(snapshot("10.0.0.1:80")) })
		if s, err := sub.First(limited); err != nil || addrs(s) != "10.0.0.1:80" {
			t.Errorf("with a deadline: %v, %v", s, err)
		}
		if v := sub.View(); v.Overdue {
			t.Errorf("view %+v", v)
		}
		r.Error(errDown)
		if v := sub.View(); v.Overdue || !v.Stale() {
			t.Errorf("view %+v: there is a Snapshot", v)
		}
	})
}

func TestASourceThatSaysNothingHasFailedAfterHalfAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := newHand()
		sub := discovery.Watch(source, target(t, "k8s:///quiz:80"))
		defer sub.Close()
		start := time.Now()
		if _, err := sub.First(context.Background()); err == nil || time.Since(start) != 30*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		(<-source.receivers).Update(snapshot("10.0.0.1:80"))
		if s, err := sub.First(context.Background()); err != nil || addrs(s) != "10.0.0.1:80" {
			t.Errorf("%v, %v", s, err)
		}
	})
}
