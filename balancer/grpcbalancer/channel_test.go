package grpcbalancer_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/grpcbalancer"
	"github.com/sidestep-lb/sidestep/health"
	"github.com/sidestep-lb/sidestep/resolver"
)

// tokens returns an interceptor that asks another channel first, with the context
// of the call, as one that fetches a token does.
func tokens(t *testing.T, conn *grpc.ClientConn) grpc.DialOption {
	return grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		if err := conn.Invoke(ctx, "/quiz.Quiz/Who", new(emptypb.Empty), new(wrapperspb.StringValue)); err != nil {
			t.Error(err)
		}
		return invoke(ctx, method, req, reply, cc, opts...)
	})
}

func TestTheContextOfACallBelongsToOneChannel(t *testing.T) {
	keys := []*pod{startPod(t, "key-0"), startPod(t, "key-1"), startPod(t, "key-2")}
	const auth = "k8s:///auth.kiada:grpc"
	withPolicyAlone := grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"sidestep":{"policy":"round_robin"}}]}`)
	for name, other := range map[string]struct {
		target  string
		options []grpc.DialOption
	}{
		"one with DialOptions":         {auth, grpcbalancer.DialOptions(roundRobin)},
		"one to the same target":       {quiz, grpcbalancer.DialOptions(roundRobin)},
		"one with the policy alone":    {auth, []grpc.DialOption{withPolicyAlone, grpc.WithNoProxy()}},
		"the same target, and policy":  {quiz, []grpc.DialOption{withPolicyAlone, grpc.WithNoProxy()}},
		"one with a config of its own": {auth, append(grpcbalancer.DialOptions(roundRobin), withPolicyAlone)},
	} {
		t.Run(name, func(t *testing.T) {
			tokenConn := newClient(t, other.target, append(other.options, grpc.WithTransportCredentials(insecure.NewCredentials()),
				grpc.WithResolvers(resolver.NewBuilder("k8s", resolver.Config{Source: newSource(endpoints(keys...)...)})))...)
			mustAsk(t, tokenConn, 30)
			bad := startPod(t, "bad", func(p *pod) { p.code = codes.Unavailable })
			pods := []*pod{startPod(t, "a"), startPod(t, "b"), bad}
			var told traces
			config := grpcbalancer.Config{
				Balancer: never, Traced: told.add,
				Retry: grpcbalancer.Retry{Codes: []codes.Code{codes.Unavailable}, Methods: anyMethod},
			}
			conn := dialWith(t, config, pods, tokens(t, tokenConn))
			allConnectedTo(t, conn, "a", "b")

			results, err := grpcbalancer.All(t.Context(), func(ctx context.Context) (string, error) {
				var answer wrapperspb.StringValue
				err := conn.Invoke(ctx, "/quiz.Quiz/Who", new(emptypb.Empty), &answer)
				return answer.Value, err
			})
			if err != nil || len(results) != 3 {
				t.Fatalf("%d results, %v", len(results), err)
			}
			for _, r := range results {
				if r.Err == nil && r.Value != r.Endpoint.Pod || (r.Err != nil) != (r.Endpoint.Pod == "bad") {
					t.Errorf("%s answered in place of %s, %v", r.Value, r.Endpoint.Pod, r.Err)
				}
			}
			told.list = nil
			for range 3 {
				var own balancer.Trace
				if err := conn.Invoke(balancer.WithTrace(t.Context(), &own), "/quiz.Quiz/Who", new(emptypb.Empty), new(wrapperspb.StringValue)); err != nil {
					t.Error(err)
				}
				for _, a := range own.Attempts() {
					if strings.HasPrefix(a.Backend.Pod, "key") {
						t.Errorf("the trace of the call has an attempt at %s", a.Backend.Pod)
					}
				}
			}
			if len(told.list) != 3 {
				t.Errorf("told of %d calls, want 3", len(told.list))
			}
		})
	}
}

// allConnectedTo asks until all of these have answered.
func allConnectedTo(t *testing.T, conn *grpc.ClientConn, names ...string) {
	t.Helper()
	seen := make(map[string]bool)
	eventually(t, "all pods answer", func() bool {
		if name, err := ask(conn, patience); err == nil {
			seen[name] = true
		}
		return len(seen) == len(names)
	})
}

func TestInterceptorsAreCalledInTheOrderThatIsDocumented(t *testing.T) {
	bad := func(p *pod) { p.code = codes.Unavailable }
	pods := []*pod{startPod(t, "a", bad), startPod(t, "b", bad)}
	var mu sync.Mutex
	called := make(map[string]int)
	counting := func(name string) grpc.UnaryClientInterceptor {
		return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			mu.Lock()
			called[name]++
			mu.Unlock()
			return invoke(ctx, method, req, reply, cc, opts...)
		}
	}
	config := grpcbalancer.Config{Balancer: never, Retry: grpcbalancer.Retry{Codes: []codes.Code{codes.Unavailable}, Methods: anyMethod}}
	options := append([]grpc.DialOption{grpc.WithChainUnaryInterceptor(counting("before"))}, config.DialOptions()...)
	conn := newClient(t, quiz, append(options, grpc.WithChainUnaryInterceptor(counting("after")), grpc.WithUnaryInterceptor(counting("single")),
		grpc.WithResolvers(resolver.NewBuilder("k8s", resolver.Config{Source: newSource(endpoints(pods...)...)})),
		grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	allConnected(t, conn, 2)
	_, _ = ask(conn, patience)
	if called["before"] != 1 || called["single"] != 1 || called["after"] != 2 {
		t.Errorf("of a call with two attempts were called: %v", called)
	}
}

const retryPolicy = `"methodConfig": [{"name": [{}], "retryPolicy": {
	"maxAttempts": 3, "initialBackoff": "0.001s", "maxBackoff": "0.01s", "backoffMultiplier": 1, "retryableStatusCodes": ["UNAVAILABLE"]}}]`

func TestARetryPolicyAloneDoesNotMeanPickFirst(t *testing.T) {
	pods := []*pod{startPod(t, "a"), startPod(t, "b", func(p *pod) { p.code = codes.Unavailable })}
	conn := dialWith(t, grpcbalancer.Config{Balancer: never}, pods, grpc.WithDefaultServiceConfig(`{`+retryPolicy+`}`))
	_, err := ask(conn, patience)
	check(t, err, codes.FailedPrecondition, "Config.ServiceConfig", "pick_first")
	_, err = conn.NewStream(t.Context(), &service.Streams[0], "/quiz.Quiz/Talk")
	check(t, err, codes.FailedPrecondition, "Config.ServiceConfig")
	if n := pods[0].accepted.Load(); n != 0 && pods[0].served.Load() != 0 {
		t.Error("it was sent")
	}

	conn = dialWith(t, grpcbalancer.Config{Balancer: never, ServiceConfig: `{` + retryPolicy + `}`}, pods)
	allConnected(t, conn, 2)
	for range 10 { // which gRPC retries
		if name, err := ask(conn, patience); err != nil || name != "a" {
			t.Error(name, err)
		}
	}
}

func TestTheRestOfAServiceConfigCannotChooseAPolicy(t *testing.T) {
	for _, text := range []string{`{"loadBalancingConfig":[{"pick_first":{}}]}`, `{"loadBalancingPolicy":"round_robin"}`, `{`, `[]`} {
		_, err := grpc.NewClient(quiz, append(grpcbalancer.Config{ServiceConfig: text}.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
		check(t, err, codes.Unknown, "ServiceConfig")
	}
}

func TestOutcomeSaysWhatAStatusMeans(t *testing.T) {
	type asked struct {
		method, code string
		trailer      int
	}
	var mu sync.Mutex
	seen := make(map[asked]int)
	config := grpcbalancer.Config{Balancer: never, Outcome: func(method string, s *status.Status, trailer metadata.MD) health.Outcome {
		mu.Lock()
		defer mu.Unlock()
		seen[asked{method, s.Code().String(), len(trailer["pod"])}]++
		switch {
		case s.Code() == codes.NotFound:
			return health.Failure
		case method == "/quiz.Quiz/Talk":
			return health.Unreachable // for which a failure is meant
		default:
			return health.Neutral
		}
	}}
	a := startPod(t, "a")
	conn := dialWith(t, config, []*pod{a})
	mustAsk(t, conn, 2)
	a.code = codes.NotFound
	_, err := ask(conn, patience)
	check(t, err, codes.NotFound)
	stream, err := conn.NewStream(t.Context(), &service.Streams[0], "/quiz.Quiz/Talk")
	if err != nil {
		t.Fatal(err)
	}
	talkTo(t, stream)
	_ = stream.CloseSend()
	_ = drainStream(stream)
	_, err = ask(conn, patience, grpc.MaxCallSendMsgSize(1), grpc.PerRPCCredentials(expired{codes.Unavailable})) // which no server has answered
	check(t, err, codes.Unavailable)
	if got := statusOf(quiz).Requests[""]; got[health.Failure] != 2 || got[health.Neutral] != 3 || got.Sum() != 5 {
		t.Errorf("outcomes: %v", got)
	}
	want := map[asked]int{{"/quiz.Quiz/Who", "OK", 1}: 2, {"/quiz.Quiz/Who", "NotFound", 0}: 1, {"/quiz.Quiz/Talk", "OK", 0}: 1}
	mu.Lock()
	defer mu.Unlock()
	for what, n := range want {
		if seen[what] != n {
			t.Errorf("asked of %v %d times, want %d", what, seen[what], n)
		}
	}
	if len(seen) != len(want) {
		t.Errorf("asked: %v", seen)
	}
}

func TestTracedIsToldOfEachStreamOnce(t *testing.T) {
	a := startPod(t, "a")
	for _, c := range []struct {
		name string
		pods []*pod
		use  func(ctx context.Context, stream grpc.ClientStream, cancel func())
	}{
		{"not opened", nil, nil},
		{"given up before its first message", []*pod{a}, func(_ context.Context, _ grpc.ClientStream, cancel func()) { cancel() }},
		{"ended without a message", []*pod{a}, func(_ context.Context, s grpc.ClientStream, _ func()) {
			_ = s.CloseSend()
			_ = s.RecvMsg(new(wrapperspb.StringValue))
		}},
		{"with messages", []*pod{a}, func(_ context.Context, s grpc.ClientStream, cancel func()) {
			talkTo(t, s)
			talkTo(t, s)
			cancel()
			_ = s.RecvMsg(new(wrapperspb.StringValue))
		}},
		{"not to be sent", []*pod{a}, func(_ context.Context, s grpc.ClientStream, _ func()) {
			_ = s.SendMsg(wrapperspb.String("\xff"))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var told traces
			conn := dialTraced(t, &told, c.pods...)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			stream, err := conn.NewStream(ctx, &service.Streams[0], "/quiz.Quiz/Talk")
			if (err != nil) != (c.use == nil) {
				t.Fatal(err)
			}
			if err == nil {
				c.use(ctx, stream, cancel)
			}
			count := func() int {
				told.mu.Lock()
				defer told.mu.Unlock()
				return len(told.list)
			}
			eventually(t, "it is told", func() bool { return count() > 0 })
			conn.Close()
			if n := count(); n != 1 {
				t.Errorf("told %d times", n)
			}
		})
	}
}
