package grpcbalancer_test

import (
	"context"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/grpcbalancer"
	"github.com/sidestep-lb/sidestep/resolver"
)

// traces collects what Traced is told.
type traces struct {
	mu   sync.Mutex
	list []*balancer.Trace
	ctx  []context.Context
}

func (t *traces) add(ctx context.Context, trace *balancer.Trace) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.list, t.ctx = append(t.list, trace), append(t.ctx, ctx)
}

func dialTraced(t *testing.T, told *traces, pods ...*pod) *grpc.ClientConn {
	t.Helper()
	config := grpcbalancer.Config{Traced: told.add}
	return newClient(t, quiz, append(config.DialOptions(),
		grpc.WithResolvers(resolver.NewBuilder("k8s", resolver.Config{Source: newSource(endpoints(pods...)...)})),
		grpc.WithDefaultServiceConfig(retrying), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
}

func TestTracedIsToldWhereACallWentAndWhyAgain(t *testing.T) {
	good, bad := startPod(t, "good"), startPod(t, "bad", func(p *pod) { p.code = codes.Unavailable })
	var told traces
	conn := dialTraced(t, &told, good, bad)
	eventually(t, "a call is retried", func() bool {
		if _, err := ask(conn, patience); err != nil {
			return false // the good one is not connected yet
		}
		last := told.list[len(told.list)-1]
		attempts := last.Attempts()
		if len(attempts) == 1 {
			if a := attempts[0]; a.Backend.Pod != "good" || a.Err != nil || a.Took <= 0 || a.Reason != "" {
				t.Errorf("the only attempt: %+v", a)
			}
			return false
		}
		if attempts[1].Backend.Pod == "bad" {
			return false // the other one was not connected yet
		}
		if len(attempts) != 2 || attempts[0].Backend.Pod != "bad" || attempts[1].Backend.Pod != "good" ||
			attempts[0].Err == nil || attempts[1].Err != nil || attempts[1].Reason != balancer.Answer {
			t.Errorf("attempts: %+v", attempts)
		}
		if last.Target() != quiz || last.Policy() != balancer.RoundRobin {
			t.Errorf("target %s, policy %s", last.Target(), last.Policy())
		}
		return true
	})
}

func TestACallMayBringItsOwnTrace(t *testing.T) {
	a := startPod(t, "a")
	conn := dial(t, newSource(endpoints(a)...), roundRobin)
	var trace balancer.Trace
	ctx, cancel := context.WithTimeout(balancer.WithTrace(context.Background(), &trace), patience)
	defer cancel()
	if err := conn.Invoke(ctx, "/quiz.Quiz/Who", new(emptypb.Empty), new(wrapperspb.StringValue)); err != nil {
		t.Fatal(err)
	}
	if attempts := trace.Attempts(); len(attempts) != 1 || attempts[0].Backend.Pod != "a" {
		t.Errorf("attempts: %+v", attempts)
	}
}

func TestTracedIsToldOfAStreamOnceAtItsFirstMessage(t *testing.T) {
	a := startPod(t, "a")
	var told traces
	conn := dialTraced(t, &told, a)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	stream, err := conn.NewStream(ctx, &service.Streams[0], "/quiz.Quiz/Talk")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		talkTo(t, stream)
	}
	if len(told.list) != 1 || len(told.list[0].Attempts()) != 1 || told.ctx[0] != ctx {
		t.Errorf("told %d times", len(told.list))
	}
	cancel()
	_ = stream.RecvMsg(new(wrapperspb.StringValue)) // when this returns, it has ended
}

func TestAHedgeIsAnAttemptOfItsCall(t *testing.T) {
	a, b := startPod(t, "a"), startPod(t, "b")
	conn := dialHedged(t, isWho, a, b)
	b.stalls.Store(true)
	hedged := false
	for range 6 {
		var trace balancer.Trace
		ctx, cancel := context.WithTimeout(balancer.WithTrace(context.Background(), &trace), patience)
		if err := conn.Invoke(ctx, "/quiz.Quiz/Who", new(emptypb.Empty), new(wrapperspb.StringValue)); err != nil {
			t.Error(err)
		}
		cancel()
		if attempts := trace.Attempts(); len(attempts) == 2 && attempts[0].Backend.Pod == "b" {
			hedged = true
			if attempts[1].Backend.Pod != "a" || attempts[1].Reason != balancer.Hedged || attempts[1].Err != nil {
				t.Errorf("attempts: %+v", attempts)
			}
		}
	}
	if !hedged {
		t.Error("no call was hedged")
	}
}

func TestWhatAChannelDoesIsToBeLookedAt(t *testing.T) {
	bad, good := startPod(t, "bad", func(p *pod) { p.code = codes.Internal }), startPod(t, "good")
	const target = "k8s:///status.kiada:grpc"
	conn := newClient(t, target, append(grpcbalancer.DialOptions(roundRobin),
		grpc.WithResolvers(resolver.NewBuilder("k8s", resolver.Config{Source: newSource(endpoints(bad, good)...)})),
		grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	status := func() (s balancer.Status) {
		for _, s := range balancer.Statuses() {
			if s.Target == target {
				return s
			}
		}
		return s
	}
	eventually(t, "the bad pod is ejected", func() bool {
		_, _ = ask(conn, patience)
		for _, b := range status().Backends {
			if b.Pod == "bad" && b.State == balancer.StateEjected {
				return true
			}
		}
		return false
	})
	s := status()
	if s.Adapter != "grpc" || s.Policy != balancer.RoundRobin || len(s.Backends) != 2 || len(s.Events) == 0 {
		t.Errorf("%+v", s)
	}
	conn.Close()
	if s := status(); s.Target != "" {
		t.Errorf("after Close: %+v", s)
	}
}
