package grpcbalancer_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

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

func anyMethod(string) bool { return true }

// dialWith is dial with a whole Config.
func dialWith(t *testing.T, config grpcbalancer.Config, pods []*pod, more ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	options := append(config.DialOptions(),
		grpc.WithResolvers(resolver.NewBuilder("k8s", resolver.Config{Source: newSource(endpoints(pods...)...)})),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	return newClient(t, quiz, append(options, more...)...)
}

// never ejects, so that pods are asked in turns whatever they answer.
var never = balancer.Config{Policy: balancer.RoundRobin, MaxEjectedPercent: -1}

// allConnected waits until all pods of the channel are connected.
func allConnected(t *testing.T, conn *grpc.ClientConn, n int) {
	t.Helper()
	conn.Connect()
	eventually(t, "all pods are connected", func() bool {
		connected := 0
		for _, b := range statusOf(quiz).Backends {
			if b.State != balancer.StateUnreachable {
				connected++
			}
		}
		return connected == n
	})
	time.Sleep(20 * time.Millisecond) //nolint:forbidigo // the picker is published a moment later
}

func TestARetryGoesToAnotherPodEachTime(t *testing.T) {
	bad := func(p *pod) { p.code = codes.Unavailable }
	pods := []*pod{startPod(t, "good"), startPod(t, "bad-0", bad), startPod(t, "bad-1", bad), startPod(t, "bad-2", bad)}
	conn := dialWith(t, grpcbalancer.Config{Balancer: never, Retry: grpcbalancer.Retry{Codes: []codes.Code{codes.Unavailable}, Methods: anyMethod}}, pods)
	allConnected(t, conn, len(pods))
	for range 3 { // the budget begins with ten retries
		if name, err := ask(conn, patience); err != nil || name != "good" {
			t.Error(name, err)
		}
	}
	for _, p := range pods {
		if n := p.served.Load(); n > 3 {
			t.Errorf("%s was asked %d times by 3 calls", p.name, n)
		}
	}
	if n := statusOf(quiz).Counts.Retries[balancer.Answer]; n == 0 {
		t.Error("no retry is counted")
	}
}

func TestWhatIsRetriedAndHowOften(t *testing.T) {
	unavailable := []codes.Code{codes.Unavailable}
	for _, c := range []struct {
		name  string
		code  codes.Code
		retry grpcbalancer.Retry
		pods  int
		want  int32
	}{
		{"nothing by default", codes.Unavailable, grpcbalancer.Retry{}, 8, 1},
		{"five times by default", codes.Unavailable, grpcbalancer.Retry{Codes: unavailable, Methods: anyMethod}, 8, 5},
		{"as often as it may", codes.Unavailable, grpcbalancer.Retry{Codes: unavailable, Methods: anyMethod, MaxAttempts: 3}, 8, 3},
		{"as many pods as there are", codes.Unavailable, grpcbalancer.Retry{Codes: unavailable, Methods: anyMethod}, 2, 2},
		{"no other code", codes.Internal, grpcbalancer.Retry{Codes: unavailable, Methods: anyMethod}, 8, 1},
		{"no other method", codes.Unavailable, grpcbalancer.Retry{Codes: unavailable, Methods: func(m string) bool { return m != "/quiz.Quiz/Who" }}, 8, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			var pods []*pod
			for i := range c.pods {
				pods = append(pods, startPod(t, string(rune('a'+i)), func(p *pod) { p.code = c.code }))
			}
			conn := dialWith(t, grpcbalancer.Config{Balancer: never, Retry: c.retry}, pods)
			allConnected(t, conn, c.pods)
			_, err := ask(conn, patience)
			check(t, err, c.code, "as it is told")
			asked := int32(0)
			for _, p := range pods {
				asked += p.served.Load()
			}
			if asked != c.want {
				t.Errorf("it was sent %d times, want %d", asked, c.want)
			}
		})
	}
}

func TestRetriesTakeFromABudget(t *testing.T) {
	var pods []*pod
	for _, name := range []string{"a", "b"} {
		pods = append(pods, startPod(t, name, func(p *pod) { p.code = codes.Unavailable }))
	}
	conn := dialWith(t, grpcbalancer.Config{Balancer: never, Retry: grpcbalancer.Retry{Codes: []codes.Code{codes.Unavailable}, Methods: anyMethod}}, pods)
	allConnected(t, conn, 2)
	began := time.Now()
	const calls = 500
	for range calls {
		_, _ = ask(conn, patience)
	}
	retries := int(pods[0].served.Load()+pods[1].served.Load()) - calls
	if limit := calls/5 + 10*int(2+time.Since(began)/time.Second); retries < calls/10 || retries > limit {
		t.Errorf("%d retries of %d calls, want %d at most", retries, calls, limit)
	}
}

func TestAServersPushbackHolds(t *testing.T) {
	for _, c := range []struct {
		pushback string
		want     int32         // attempts
		pause    time.Duration // at least
	}{{"", 2, 0}, {"80", 2, 80 * time.Millisecond}, {"-1", 1, 0}, {"soon", 1, 0}, {"60000", 1, 0}} {
		var asked atomic.Int32
		options := []grpc.ServerOption{grpc.UnaryInterceptor(func(ctx context.Context, _ any, _ *grpc.UnaryServerInfo, _ grpc.UnaryHandler) (any, error) {
			asked.Add(1)
			if c.pushback != "" {
				if err := grpc.SetTrailer(ctx, metadata.Pairs("grpc-retry-pushback-ms", c.pushback)); err != nil {
					return nil, err
				}
			}
			return nil, status.Error(codes.Unavailable, "as it is told")
		})}
		pods := []*pod{startPodAt(t, "a", "127.0.0.1:0", options), startPodAt(t, "b", "127.0.0.1:0", options)}
		conn := dialWith(t, grpcbalancer.Config{Balancer: never, Retry: grpcbalancer.Retry{Codes: []codes.Code{codes.Unavailable}, Methods: anyMethod}}, pods)
		allConnected(t, conn, 2)
		began := time.Now()
		_, err := ask(conn, patience)
		check(t, err, codes.Unavailable, "as it is told")
		if n, took := asked.Load(), time.Since(began); n != c.want || took < c.pause {
			t.Errorf("pushback %q: %d attempts in %v", c.pushback, n, took)
		}
	}
}

func TestAPodThatTakesTooLongIsGivenUpForAnother(t *testing.T) {
	slow, good := startPod(t, "slow"), startPod(t, "good")
	conn := dialWith(t, grpcbalancer.Config{Balancer: never, Retry: grpcbalancer.Retry{TryTimeout: 50 * time.Millisecond, Methods: anyMethod}}, []*pod{slow, good})
	askUntil(t, conn, slow, good)
	slow.stalls.Store(true)
	for range 4 {
		if name, err := ask(conn, patience); err != nil || name != "good" {
			t.Error(name, err)
		}
	}
	s := statusOf(quiz)
	if got, n := s.Requests[""], s.Counts.Retries[balancer.TryTimeout]; n == 0 || got[health.Timeout] != n {
		t.Errorf("given up %d times: %v", n, got)
	}
	for _, b := range s.Backends {
		if b.InFlight != 0 {
			t.Errorf("%s: %d in flight", b.Pod, b.InFlight)
		}
	}
}

func TestAPodIsNotGivenUpInVain(t *testing.T) {
	slow := startPod(t, "slow", func(p *pod) { p.delay = 150 * time.Millisecond })
	conn := dialWith(t, grpcbalancer.Config{Balancer: never, Retry: grpcbalancer.Retry{TryTimeout: 20 * time.Millisecond, Methods: anyMethod}}, []*pod{slow})
	if name, err := ask(conn, patience); err != nil || name != "slow" || slow.served.Load() != 1 {
		t.Errorf("%s, %v; it was asked %d times", name, err, slow.served.Load())
	}
}

// What fails while it is being given up, or is answered then, leaves nothing behind.
func TestGivingUpAndFailingAtOnceLeavesNothingInFlight(t *testing.T) {
	const limit = 3 * time.Millisecond
	late := func(p *pod) { p.delay, p.code = limit, codes.Unavailable }
	pods := []*pod{startPod(t, "a", late), startPod(t, "b", late), startPod(t, "c", func(p *pod) { p.delay = limit })}
	retry := grpcbalancer.Retry{TryTimeout: limit, Codes: []codes.Code{codes.Unavailable}, Methods: anyMethod}
	conn := dialWith(t, grpcbalancer.Config{Balancer: never, Retry: retry}, pods)
	allConnected(t, conn, 3)
	for range 300 {
		ctx, cancel := context.WithTimeout(t.Context(), 4*limit)
		_ = conn.Invoke(ctx, "/quiz.Quiz/Who", new(emptypb.Empty), new(wrapperspb.StringValue))
		cancel()
	}
	for _, b := range statusOf(quiz).Backends {
		if b.InFlight != 0 {
			t.Errorf("%s: %d in flight", b.Pod, b.InFlight)
		}
	}
}

func TestARetryThatCannotBeIsAnError(t *testing.T) {
	for field, retry := range map[string]grpcbalancer.Retry{
		"Retry.MaxAttempts": {MaxAttempts: -1},
		"Retry.TryTimeout":  {TryTimeout: -1},
		"Retry.Codes":       {Codes: []codes.Code{codes.OK}, Methods: anyMethod},
		"Retry.Methods":     {Codes: []codes.Code{codes.Unavailable}},
	} {
		_, err := grpc.NewClient(quiz, append(grpcbalancer.Config{Retry: retry}.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
		check(t, err, codes.Unknown, field)
	}
}

func TestOnFinishHearsOfTheCallAndNotOfItsAttempts(t *testing.T) {
	bad := func(p *pod) { p.code = codes.Unavailable }
	pods := []*pod{startPod(t, "a", bad), startPod(t, "b", bad)}
	conn := dialWith(t, grpcbalancer.Config{Balancer: never, Retry: grpcbalancer.Retry{Codes: []codes.Code{codes.Unavailable}, Methods: anyMethod}}, pods)
	allConnected(t, conn, 2)
	heard := 0
	_, _ = ask(conn, patience, grpc.OnFinish(func(error) { heard++ }))
	if n := pods[0].served.Load() + pods[1].served.Load(); heard != 1 || n != 2 {
		t.Errorf("it was told %d times of a call with %d attempts", heard, n)
	}
}
