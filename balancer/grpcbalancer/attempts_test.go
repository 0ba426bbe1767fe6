package grpcbalancer_test

import (
	"context"
	"errors"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/grpcbalancer"
)

// retrying is a service config that repeats a request up to three times.
const retrying = `{
	"loadBalancingConfig": [{"sidestep": {"policy": "round_robin", "maxEjectedPercent": -1}}],
	"methodConfig": [{"name": [{}], "retryPolicy": {
		"maxAttempts": 3, "initialBackoff": "0.001s", "maxBackoff": "0.01s", "backoffMultiplier": 1, "retryableStatusCodes": ["UNAVAILABLE"]}}]
}`

// grpc-java #11151: a retry may hit the same bad endpoint.
func TestARetryGoesToAnotherPod(t *testing.T) {
	bad := func(p *pod) { p.code = codes.Unavailable }
	pods := []*pod{startPod(t, "good"), startPod(t, "bad-0", bad), startPod(t, "bad-1", bad)}
	conn := dial(t, newSource(endpoints(pods...)...), balancer.Config{}, grpc.WithDefaultServiceConfig(retrying))
	eventually(t, "all pods were asked", func() bool {
		_, _ = ask(conn, patience)
		return pods[0].served.Load() > 0 && pods[1].served.Load() > 0 && pods[2].served.Load() > 0
	})
	for name, n := range mustAsk(t, conn, 200) {
		if name != "good" || n != 200 {
			t.Errorf("%s answered %d of 200", name, n)
		}
	}
}

func TestARetryGoesToTheSamePodIfThereIsNoOther(t *testing.T) {
	bad := startPod(t, "bad", func(p *pod) { p.code = codes.Unavailable })
	conn := dial(t, newSource(endpoints(bad)...), balancer.Config{}, grpc.WithDefaultServiceConfig(retrying))
	_, err := ask(conn, patience)
	check(t, err, codes.Unavailable, "as it is told")
	if n := bad.served.Load(); n != 3 {
		t.Errorf("the only pod was asked %d times, want 3", n)
	}
}

func TestARetriedStreamGoesToAnotherPod(t *testing.T) {
	good, bad := startPod(t, "good"), startPod(t, "bad")
	conn := dial(t, newSource(endpoints(good, bad)...), balancer.Config{}, grpc.WithDefaultServiceConfig(retrying))
	askUntil(t, conn, good, bad)
	bad.refuses.Store(true)
	for range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		stream, err := conn.NewStream(ctx, &service.Streams[0], "/quiz.Quiz/Talk")
		if err != nil {
			t.Fatal(err)
		}
		if name := talkTo(t, stream); name != "good" {
			t.Errorf("%s answered", name)
		}
		cancel()
	}
}

// openStreams opens n streams to a pod, each of which has had its first message.
func openStreams(t *testing.T, conn *grpc.ClientConn, to *pod, n int) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	for range n {
		_, err := grpcbalancer.All(ctx, func(ctx context.Context) (any, error) {
			ctx, cancel := context.WithCancel(ctx)
			stream, err := conn.NewStream(ctx, &service.Streams[0], "/quiz.Quiz/Talk")
			if err != nil {
				cancel()
				return nil, err
			}
			if name := talkTo(t, stream); name == to.name {
				t.Cleanup(cancel)
				return nil, nil
			}
			cancel()
			return nil, stream.RecvMsg(new(wrapperspb.StringValue)) // when this returns, it has ended
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestAStreamThatHasAMessageCountsAsConfigured(t *testing.T) {
	for _, c := range []struct {
		load  float64
		share int // of a hundred requests, at least, to the pod with the streams
	}{{0, 0}, {-1, 25}} {
		a, b := startPod(t, "a"), startPod(t, "b")
		conn := dial(t, newSource(endpoints(a, b)...), balancer.Config{Policy: balancer.LeastRequest, AnsweredLoad: c.load, SlowStart: -1})
		askUntil(t, conn, a, b)
		openStreams(t, conn, a, 5)
		got := mustAsk(t, conn, 100)["a"]
		if got < c.share || c.share == 0 && got > 0 {
			t.Errorf("answeredLoad %v: the pod with five streams got %d of 100 requests", c.load, got)
		}
	}
}

func TestALongStreamIsNoSlowAnswer(t *testing.T) {
	a, b := startPod(t, "a"), startPod(t, "b")
	conn := dial(t, newSource(endpoints(a, b)...), balancer.Config{AnsweredLoad: -1})
	askUntil(t, conn, a, b)
	openStreams(t, conn, a, 3)
	// If their age counted, it would ever more. Otherwise a pod waits for its share as
	// long as an answer that happened to come late takes to be forgotten.
	within(t, 3*patience, "the pod with old streams gets its share", func() bool { return mustAsk(t, conn, 300)["a"] > 75 })
}

func TestKeyGivesCallsOfTheSameKeyToTheSamePod(t *testing.T) {
	pods := []*pod{startPod(t, "a"), startPod(t, "b"), startPod(t, "c")}
	conn := dial(t, newSource(endpoints(pods...)...), balancer.Config{Policy: balancer.RingHash})
	eventually(t, "all pods are connected", func() bool {
		_, err := ask(conn, patience)
		return err == nil && pods[0].served.Load() > 0 && pods[1].served.Load() > 0 && pods[2].served.Load() > 0
	})
	owners := make(map[string]bool)
	for _, key := range []string{"ada", "berta", "cora", "dora", "emma", "fanny", "gerda", "hanna"} {
		answered := make(map[string]bool)
		for range 10 {
			name, err := ask(conn, patience, grpcbalancer.Key(key))
			if err != nil {
				t.Fatal(err)
			}
			answered[name], owners[name] = true, true
		}
		if len(answered) != 1 {
			t.Errorf("key %s: %v", key, answered)
		}
		// The option is stronger than the context.
		ctx, cancel := context.WithTimeout(balancer.WithKey(context.Background(), "somebody else"), patience)
		var answer wrapperspb.StringValue
		err := conn.Invoke(ctx, "/quiz.Quiz/Who", new(emptypb.Empty), &answer, grpcbalancer.Key(key))
		cancel()
		if err != nil || !answered[answer.Value] {
			t.Errorf("key %s with another one in the context: %s, %v", key, answer.Value, err)
		}
	}
	if len(owners) < 2 {
		t.Errorf("all keys went to %v", owners)
	}
}

// MaxInFlight fails requests that would wait for READY as well: nobody would
// tell them when there is room.
func TestAFullBackendFailsEvenRequestsThatWaitForReady(t *testing.T) {
	a := startPod(t, "a")
	conn := dial(t, newSource(endpoints(a)...), balancer.Config{Policy: balancer.LeastRequest, MaxInFlight: 1})
	mustAsk(t, conn, 1)
	openStreams(t, conn, a, 1)
	_, err := ask(conn, patience, grpc.WaitForReady(true))
	check(t, err, codes.Unavailable, quiz, balancer.ErrBusy.Error())
	if errors.Is(err, context.DeadlineExceeded) {
		t.Error("it waited")
	}
}
