package discovery_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidestep-lb/sidestep/discovery"
)

// watchAgain lets a watch with one endpoint end and begins another one.
func watchAgain(t *testing.T, h *hand, of string) (*discovery.Subscription, discovery.Receiver) {
	t.Helper()
	first := discovery.Watch(h, target(t, of))
	(<-h.receivers).Update(snapshot("10.0.0.1:80"))
	first.Close()
	again := discovery.Watch(h, target(t, of))
	return again, <-h.receivers
}

func TestWhatWasKnownIsUsedWhenTheSourceFailsAfterAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sub, source := watchAgain(t, newHand(), "k8s:///quiz:grpc")
		defer sub.Close()
		if v := sub.View(); v.Snapshot != nil {
			t.Errorf("before the source had its chance: %+v", v)
		}
		away := errors.New("connection refused")
		source.Error(away)
		if v := sub.View(); !v.Snapshot.Equal(snapshot("10.0.0.1:80")) || !v.Stale() || !errors.Is(v.Err, away) {
			t.Errorf("the source fails: %+v", v)
		}
		source.Update(snapshot("10.0.0.2:80"))
		if v := sub.View(); !v.Snapshot.Equal(snapshot("10.0.0.2:80")) || v.Stale() {
			t.Errorf("the source has been read: %+v", v)
		}
	})
}

func TestWhatWasKnownIsUsedWhenTheSourceTakesLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sub, source := watchAgain(t, newHand(), "k8s:///quiz:grpc")
		defer sub.Close()
		began := time.Now()
		s, err := sub.First(t.Context())
		if err != nil || !s.Equal(snapshot("10.0.0.1:80")) || !sub.View().Stale() {
			t.Errorf("%+v, %v", s, err)
		}
		if waited := time.Since(began); waited < time.Second || waited > 2*time.Second {
			t.Errorf("it waited %v for the source", waited)
		}
		source.Update(snapshot())
		if v := sub.View(); len(v.Snapshot.Endpoints) != 0 || v.Stale() {
			t.Errorf("the source says that there are none: %+v", v)
		}
	})
}

func TestWhatWasKnownOutlivesAWatchThatFoundNothingOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHand()
		for range 3 { // short visits while the source is away
			sub, _ := watchAgain(t, h, "k8s:///quiz:grpc")
			sub.Close()
			sub = discovery.Watch(h, target(t, "k8s:///quiz:grpc"))
			(<-h.receivers).Error(errors.New("connection refused"))
			if v := sub.View(); v.Snapshot == nil {
				t.Error("it is forgotten")
			}
			sub.Close()
		}
	})
}

func TestWhatWasKnownIsForgottenInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHand()
		sub, _ := watchAgain(t, h, "k8s:///quiz:grpc")
		sub.Close()
		time.Sleep(25 * time.Hour) // of virtual time
		sub = discovery.Watch(h, target(t, "k8s:///quiz:grpc"))
		defer sub.Close()
		(<-h.receivers).Error(errors.New("connection refused"))
		if v := sub.View(); v.Snapshot != nil {
			t.Errorf("after a day: %+v", v)
		}
	})
}

func TestThatThereWereNoEndpointsIsNotRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHand()
		sub, source := watchAgain(t, h, "k8s:///quiz:grpc")
		source.Update(snapshot())
		sub.Close()
		sub = discovery.Watch(h, target(t, "k8s:///quiz:grpc"))
		defer sub.Close()
		(<-h.receivers).Error(errors.New("connection refused"))
		if v := sub.View(); v.Snapshot != nil {
			t.Errorf("%+v", v)
		}
	})
}
