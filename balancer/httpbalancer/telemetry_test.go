package httpbalancer_test

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/httpbalancer"
)

func TestTracedIsToldWhereARequestWentAndWhyAgain(t *testing.T) {
	good, dead := start(t, "quiz-0", nil), gone(t, "quiz-1")
	var mu sync.Mutex
	var told []*balancer.Trace
	transport := newTransport(t, httpbalancer.Config{Source: serving(good, dead), Traced: func(ctx context.Context, trace *balancer.Trace) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, trace)
	}})
	client := &http.Client{Transport: transport}
	again := false
	for range 20 {
		resp, err := client.Get("http://quiz.kiada/")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		attempts := told[len(told)-1].Attempts()
		last := attempts[len(attempts)-1]
		if last.Backend.Pod != "quiz-0" || last.Status != http.StatusOK || last.Took <= 0 {
			t.Errorf("the last attempt: %+v", last)
		}
		if len(attempts) == 2 {
			again = true
			if attempts[0].Err == nil || last.Reason != balancer.NotSent {
				t.Errorf("attempts: %+v", attempts)
			}
		}
	}
	if !again || len(told) != 20 {
		t.Errorf("told of %d requests, of a second attempt: %t", len(told), again)
	}
	i := slices.IndexFunc(balancer.Statuses(), func(s balancer.Status) bool { return s.Adapter == "http" && len(s.Backends) == 2 })
	if i < 0 {
		t.Fatal("the transport is not to be looked at")
	}
	if s := balancer.Statuses()[i]; s.Counts.Retries[balancer.NotSent] == 0 {
		t.Errorf("%+v", s.Counts)
	}
}
