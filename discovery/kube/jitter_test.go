package kube_test

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/kube"
)

// silence never answers, and says when it was asked first.
type silence struct{ asked chan time.Time }

func (s silence) RoundTrip(req *http.Request) (*http.Response, error) {
	select {
	case s.asked <- time.Now():
	default:
	}
	<-req.Context().Done()
	return nil, errors.New("no answer")
}

// firstRequest returns how long after now the first request for a target comes.
func firstRequest(t *testing.T, jitter, age time.Duration) time.Duration {
	t.Helper()
	var after time.Duration
	synctest.Test(t, func(t *testing.T) {
		api := silence{make(chan time.Time, 1)}
		source := kube.New(kube.Config{Host: "http://api", Client: &http.Client{Transport: api}, StartJitter: jitter})
		time.Sleep(age) // of virtual time
		start := time.Now()
		sub := discovery.Watch(source, parse(t, "k8s:///quiz.kiada:grpc"))
		after = (<-api.asked).Sub(start)
		sub.Close()
	})
	return after
}

// P11.
func TestAFleetThatRestartsAsOneCanBeSpread(t *testing.T) {
	const jitter = 10 * time.Second
	if after := firstRequest(t, 0, 0); after != 0 {
		t.Errorf("without jitter: after %v", after)
	}
	if after := firstRequest(t, jitter, jitter); after != 0 {
		t.Errorf("a target that comes later is kept waiting: %v", after)
	}
	earliest, latest := time.Hour, time.Duration(0)
	for range 50 {
		after := firstRequest(t, jitter, 0)
		earliest, latest = min(earliest, after), max(latest, after)
	}
	if earliest > jitter/4 || latest < jitter/4 || latest > jitter {
		t.Errorf("the first requests come after %v to %v", earliest, latest)
	}
}
