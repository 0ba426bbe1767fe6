package grpcbalancer_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/grpcbalancer"
	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/selection"
)

func TestANewClientAsksTheSourceOfItsConfigAndUsesItsSelection(t *testing.T) {
	pods := []*pod{startPod(t, "quiz-0"), startPod(t, "quiz-1"), startPod(t, "quiz-2")}
	config := grpcbalancer.Config{
		Balancer:  balancer.Config{Policy: balancer.RoundRobin},
		Source:    newSource(endpoints(pods...)...),
		Selection: selection.Config{SubsetSize: 2},
	}
	for _, target := range []string{quiz, "kubernetes:///quiz.kiada:grpc", "headless:///quiz.kiada:grpc"} {
		conn, err := grpcbalancer.NewClient(target, config, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		within(t, patience, "two pods answer", func() bool { return len(mustAsk(t, conn, 10)) > 1 })
		if used := mustAsk(t, conn, 30); len(used) != 2 {
			t.Errorf("%s: %v are used, want two pods", target, used)
		}
	}
}

func TestAnImpossibleConfigOrTargetIsAnErrorOfNewClient(t *testing.T) {
	for want, config := range map[string]grpcbalancer.Config{
		`grpcbalancer config: Balancer: policy: "roulette" is unknown`: {Balancer: balancer.Config{Policy: "roulette"}},
		`grpcbalancer config: Balancer: hashKey.cookie: `:              {Balancer: balancer.Config{HashKey: balancer.KeySource{Cookie: "user"}}},
		`grpcbalancer config: Balancer.NewPolicy: `:                    {Balancer: balancer.Config{NewPolicy: func(func() uint64) balancer.Policy { return nil }}},
		`grpcbalancer config: Selection: SubsetSize: -1 is negative`:   {Selection: selection.Config{SubsetSize: -1}},
		`grpcbalancer config: MaxConnections: -1 is negative`:          {MaxConnections: -1},
		`grpcbalancer config: ReportPeriod: -1s is negative`:           {ReportPeriod: -time.Second},
		`grpcbalancer config: Retry.MaxAttempts: -1 is negative`:       {Retry: grpcbalancer.Retry{MaxAttempts: -1}},
		`grpcbalancer config: Hedge.Methods: `:                         {Hedge: grpcbalancer.Hedge{Percentile: 95}},
		`grpcbalancer config: ServiceConfig: `:                         {ServiceConfig: "{"},
	} {
		_, err := grpcbalancer.NewClient(quiz, config, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Count(err.Error(), "config: ") != 1 {
			t.Errorf("got %v, want it to begin with %q", err, want)
		}
	}
	var malformed *discovery.TargetError
	if _, err := grpcbalancer.NewClient("k8s:///Quiz", grpcbalancer.Config{}); !errors.As(err, &malformed) {
		t.Errorf("got %v, want a *discovery.TargetError", err)
	}
	if _, err := grpcbalancer.NewClient(quiz, grpcbalancer.Config{}); err == nil {
		t.Error("no error without credentials")
	}
}

func TestOptionsOfTheCallerPrevailInNewClient(t *testing.T) {
	p := startPod(t, "quiz-0")
	called := 0
	conn, err := grpcbalancer.NewClient(quiz, grpcbalancer.Config{Source: newSource(p.endpoint())},
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithAuthority("quiz.example"),
		grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			called++
			return invoke(ctx, method, req, reply, cc, opts...)
		}))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	mustAsk(t, conn, 1)
	if got := p.host.Load(); got != "quiz.example" || called != 1 {
		t.Errorf("the authority is %v, the interceptor was called %d times", got, called)
	}
}

func TestAChannelHasALoggerAndANameOfItsOwn(t *testing.T) {
	p := startPod(t, "quiz-0")
	lines := make(chan string, 100)
	config := grpcbalancer.Config{Name: "hasty", Logger: slog.New(handler(lines)), Source: newSource(p.endpoint())}
	conn, err := grpcbalancer.NewClient(quiz, config, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	mustAsk(t, conn, 1)
	if all := balancer.Statuses(); len(all) != 1 || all[0].Client != "hasty" {
		t.Errorf("the statuses are %+v", all)
	}
	select {
	case line := <-lines:
		if line != "sidestep: backends changed: hasty" {
			t.Errorf("logged %s", line)
		}
	case <-time.After(patience):
		t.Error("nothing is logged")
	}
}

// A handler is a slog.Handler that sends on each message, with its attribute client.
type handler chan<- string

func (handler) Enabled(context.Context, slog.Level) bool { return true }

func (h handler) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "client" {
			h <- r.Message + ": " + a.Value.String()
		}
		return true
	})
	return nil
}

func (h handler) WithAttrs([]slog.Attr) slog.Handler { return h }

func (h handler) WithGroup(string) slog.Handler { return h }
