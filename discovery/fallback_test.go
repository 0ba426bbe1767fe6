package discovery_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/dns"
	"github.com/sidestep-lb/sidestep/discovery/kube"
)

// withFallback runs test in virtual time with a subscription to a Fallback.
func withFallback(t *testing.T, test func(t *testing.T, sub *discovery.Subscription, primary, secondary *hand)) {
	synctest.Test(t, func(t *testing.T) {
		primary, secondary := newHand(), newHand()
		sub := discovery.Watch(discovery.Fallback(primary, secondary), target(t, "k8s:///quiz.kiada:80"))
		test(t, sub, primary, secondary)
		sub.Close()
		for _, h := range []*hand{primary, secondary} {
			if h.runs.Load() != h.ended.Load() {
				t.Error("a source goes on after Close")
			}
		}
	})
}

var errDown = errors.New("connection refused")

func TestFallbackAsksOnlyThePrimaryWhileItAnswers(t *testing.T) {
	withFallback(t, func(t *testing.T, sub *discovery.Subscription, primary, secondary *hand) {
		r := <-primary.receivers
		r.Update(snapshot("10.0.0.1:80"))
		r.Error(errDown)
		synctest.Wait()
		if secondary.runs.Load() != 0 {
			t.Error("the secondary was asked")
		}
		if v := sub.View(); addrs(v.Snapshot) != "10.0.0.1:80" || !v.Stale() {
			t.Errorf("view %+v, want the last Snapshot, stale", v)
		}
	})
}

func TestFallbackServesFromTheSecondaryAndSaysSo(t *testing.T) {
	for _, err := range []error{errDown, fmt.Errorf("%w: add this Role", discovery.ErrForbidden)} {
		withFallback(t, func(t *testing.T, sub *discovery.Subscription, primary, secondary *hand) {
			(<-primary.receivers).Error(err)
			(<-secondary.receivers).Update(snapshot("10.0.0.2:80"))
			synctest.Wait()
			v := sub.View()
			if v.Snapshot == nil || addrs(v.Snapshot) != "10.0.0.2:80" || v.Err != nil {
				t.Fatalf("view %+v, want that of the secondary", v)
			}
			if d := v.Snapshot.Degraded; !errors.Is(d, err) {
				t.Errorf("degraded because %v, want %v", d, err)
			}
		})
	}
}

func TestFallbackReturnsToThePrimaryForGood(t *testing.T) {
	withFallback(t, func(t *testing.T, sub *discovery.Subscription, primary, secondary *hand) {
		p := <-primary.receivers
		p.Error(errDown)
		s := <-secondary.receivers
		s.Update(snapshot("10.0.0.2:80"))
		p.Update(snapshot("10.0.0.1:80"))
		if secondary.ended.Load() != 1 {
			t.Error("the secondary goes on")
		}
		s.Update(snapshot("10.0.0.3:80")) // too late
		p.Error(errDown)
		synctest.Wait()
		v := sub.View()
		if addrs(v.Snapshot) != "10.0.0.1:80" || v.Snapshot.Degraded != nil || secondary.runs.Load() != 1 {
			t.Errorf("view %+v after %d runs of the secondary, want that of the primary after one", v, secondary.runs.Load())
		}
	})
}

func TestNothingFoundInTheFallbackDoesNotHideThePrimarysError(t *testing.T) {
	withFallback(t, func(t *testing.T, sub *discovery.Subscription, primary, secondary *hand) {
		(<-primary.receivers).Error(fmt.Errorf("%w: add this Role", discovery.ErrForbidden))
		s := <-secondary.receivers
		s.Update(&discovery.Snapshot{Reason: discovery.ErrServiceNotFound})
		s.Error(errors.New("SERVFAIL"))
		synctest.Wait()
		if v := sub.View(); v.Snapshot != nil || !errors.Is(v.Err, discovery.ErrForbidden) {
			t.Errorf("view %+v, want the primary's error", v)
		}
		s.Update(snapshot("10.0.0.2:80"))
		s.Update(snapshot()) // the Service was scaled to zero
		synctest.Wait()
		if v := sub.View(); v.Snapshot == nil || len(v.Snapshot.Endpoints) != 0 {
			t.Errorf("view %+v, want it empty", v)
		}
	})
}

func TestRequestsWaitForWhatTheFallbackSays(t *testing.T) {
	withFallback(t, func(t *testing.T, sub *discovery.Subscription, primary, secondary *hand) {
		(<-primary.receivers).Error(discovery.ErrForbidden)
		s := <-secondary.receivers
		synctest.Wait()
		if v := sub.View(); v.Err != nil {
			t.Errorf("view %+v before the secondary was heard, want nothing", v)
		}
		s.Error(errors.New("SERVFAIL"))
		synctest.Wait()
		if v := sub.View(); !errors.Is(v.Err, discovery.ErrForbidden) {
			t.Errorf("view %+v when the secondary failed, too; want the primary's error", v)
		}
	})
}

func TestThereIsNoFallbackOutsideACluster(t *testing.T) {
	withFallback(t, func(t *testing.T, sub *discovery.Subscription, primary, secondary *hand) {
		(<-primary.receivers).Error(fmt.Errorf("%w: not in a cluster", discovery.ErrUnavailable))
		synctest.Wait()
		if v := sub.View(); secondary.runs.Load() != 0 || !strings.Contains(fmt.Sprint(v.Err), "not in a cluster") {
			t.Errorf("view %+v after %d runs of the secondary", v, secondary.runs.Load())
		}
	})
}

func TestFallbacksOfTheSameSourcesShareTheirWatches(t *testing.T) {
	primary, secondary := newHand(), newHand()
	a := discovery.Watch(discovery.Fallback(primary, secondary), target(t, "k8s:///quiz:80"))
	defer a.Close()
	b := discovery.Watch(discovery.Fallback(primary, secondary), target(t, "k8s:///quiz.kiada:80"))
	defer b.Close()
	<-primary.receivers
	if n := primary.runs.Load(); n != 1 {
		t.Errorf("%d watches, want 1", n)
	}
}

func ExampleFallback() {
	// What k8s:/// targets use unless a program says otherwise.
	source := discovery.Fallback(kube.InCluster(), dns.System())
	// Its users share their watches, wherever they made it.
	fmt.Println(source == discovery.Fallback(kube.InCluster(), dns.System()))
	// Output: true
}
