package grpcbalancer_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/grpcbalancer"
	"github.com/sidestep-lb/sidestep/discovery"
)

// askAll asks all pods.
func askAll(conn *grpc.ClientConn, timeout time.Duration, options ...grpc.CallOption) ([]grpcbalancer.Result[string], error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return grpcbalancer.All(ctx, func(ctx context.Context) (string, error) {
		var answer wrapperspb.StringValue
		err := conn.Invoke(ctx, "/quiz.Quiz/Who", new(emptypb.Empty), &answer, options...)
		return answer.Value, err
	})
}

func TestAllAsksEachPodOnce(t *testing.T) {
	var pods []*pod
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		pods = append(pods, startPod(t, name))
	}
	for _, policy := range balancer.Policies() {
		conn := dial(t, newSource(endpoints(pods...)...), balancer.Config{Policy: policy})
		before := make(map[string]int32)
		for _, p := range pods {
			before[p.name] = p.served.Load()
		}
		results, err := askAll(conn, patience)
		if err != nil || len(results) != len(pods) {
			t.Fatalf("%s: %d results, %v", policy, len(results), err)
		}
		for i, r := range results {
			if r.Err != nil || r.Value != r.Endpoint.Pod {
				t.Errorf("%s: %v: %q, %v", policy, &r.Endpoint, r.Value, r.Err)
			}
			if i > 0 && results[i-1].Endpoint.Addr.Compare(r.Endpoint.Addr) >= 0 {
				t.Errorf("%s: the results are not sorted by address", policy)
			}
		}
		for _, p := range pods {
			if n := p.served.Load() - before[p.name]; n != 1 {
				t.Errorf("%s: %s was asked %d times", policy, p.name, n)
			}
		}
	}
}

func TestAllTellsWhatEachPodAnswered(t *testing.T) {
	good, gone := startPod(t, "good"), startPod(t, "gone")
	bad := startPod(t, "bad", func(p *pod) { p.code = codes.NotFound })
	gone.kill()
	conn := dial(t, newSource(endpoints(good, bad, gone)...), balancer.Config{}, grpc.WithDefaultServiceConfig(retrying))
	results, err := askAll(conn, patience)
	if err != nil || len(results) != 3 {
		t.Fatalf("%d results, %v", len(results), err)
	}
	for _, r := range results {
		switch r.Endpoint.Pod {
		case "good":
			if r.Value != "good" || r.Err != nil {
				t.Errorf("good: %q, %v", r.Value, r.Err)
			}
		case "bad":
			check(t, r.Err, codes.NotFound)
		case "gone":
			check(t, r.Err, codes.Unavailable, quiz, "(gone)", "cannot be reached", "connection refused")
		}
	}
}

func TestARetryOfAllGoesToTheSamePod(t *testing.T) {
	good := startPod(t, "good")
	bad := startPod(t, "bad", func(p *pod) { p.code = codes.Unavailable })
	conn := dial(t, newSource(endpoints(good, bad)...), balancer.Config{}, grpc.WithDefaultServiceConfig(retrying))
	results, err := askAll(conn, patience)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if (r.Err == nil) != (r.Endpoint.Pod == "good") {
			t.Errorf("%v: %q, %v", &r.Endpoint, r.Value, r.Err)
		}
	}
	if good.served.Load() != 1 || bad.served.Load() != 3 {
		t.Errorf("asked %d and %d times, want 1 and 3", good.served.Load(), bad.served.Load())
	}
}

func TestAllWithoutAnyPodIsAnError(t *testing.T) {
	conn := dial(t, newSource([]discovery.Endpoint{}...), balancer.Config{})
	results, err := askAll(conn, patience)
	if results != nil {
		t.Errorf("%d results", len(results))
	}
	check(t, err, codes.Unavailable, quiz, "no endpoint ready")
}

func TestAllWaitsNoLongerThanItsContext(t *testing.T) {
	conn := dial(t, newSource(), balancer.Config{}) // discovery says nothing
	began := time.Now()
	_, err := askAll(conn, 100*time.Millisecond)
	check(t, err, codes.DeadlineExceeded, "waiting for the endpoints")
	if took := time.Since(began); took > patience/2 {
		t.Errorf("it took %v", took)
	}

	a, b := startPod(t, "a"), startPod(t, "b", func(p *pod) { p.stalls.Store(true) })
	conn = dial(t, newSource(endpoints(a, b)...), balancer.Config{})
	results, err := askAll(conn, 500*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Endpoint.Pod == "b" {
			check(t, r.Err, codes.DeadlineExceeded)
		} else if r.Err != nil {
			t.Errorf("a: %v", r.Err)
		}
	}
}

func TestAllAsksNoMoreThan32AtOnce(t *testing.T) {
	var now, most atomic.Int32
	count := func(p *pod) {
		p.entered = func() {
			n := now.Add(1)
			for seen := most.Load(); n > seen; seen = most.Load() {
				if most.CompareAndSwap(seen, n) {
					return
				}
			}
		}
		p.delay = 20 * time.Millisecond
		p.left = func() { now.Add(-1) }
	}
	var pods []*pod
	for range 80 {
		pods = append(pods, startPod(t, "quiz", count))
	}
	conn := dial(t, newSource(endpoints(pods...)...), balancer.Config{})
	results, err := askAll(conn, 2*patience)
	if err != nil || len(results) != 80 {
		t.Fatalf("%d results, %v", len(results), err)
	}
	if n := most.Load(); n > 33 || n < 2 { // the first one, which finds out who is there, goes before
		t.Errorf("%d were asked at once", n)
	}
}

func TestAllOfSomethingElseIsAnError(t *testing.T) {
	_, err := grpcbalancer.All(t.Context(), func(context.Context) (int, error) { return 1, nil })
	if err == nil || !strings.Contains(err.Error(), "made no call") {
		t.Errorf("got %v", err)
	}
	oops := errors.New("oops")
	if _, err := grpcbalancer.All(t.Context(), func(context.Context) (int, error) { return 0, oops }); !errors.Is(err, oops) {
		t.Errorf("got %v", err)
	}
}

// A function may call other services, too, before or after.
func TestAllIsForTheFirstChannelThatIsCalled(t *testing.T) {
	a, b := startPod(t, "a"), startPod(t, "b")
	other := startPod(t, "other")
	conn := dial(t, newSource(endpoints(a, b)...), balancer.Config{})
	helper := dial(t, newSource(endpoints(other)...), balancer.Config{})
	results, err := grpcbalancer.All(t.Context(), func(ctx context.Context) (string, error) {
		var answer, more wrapperspb.StringValue
		if err := conn.Invoke(ctx, "/quiz.Quiz/Who", new(emptypb.Empty), &answer); err != nil {
			return "", err
		}
		err := helper.Invoke(ctx, "/quiz.Quiz/Who", new(emptypb.Empty), &more)
		return answer.Value + " and " + more.Value, err
	})
	if err != nil || len(results) != 2 {
		t.Fatalf("%d results, %v", len(results), err)
	}
	for _, r := range results {
		if r.Value != r.Endpoint.Pod+" and other" {
			t.Errorf("%v: %q, %v", &r.Endpoint, r.Value, r.Err)
		}
	}
}
