package grpcbalancer_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/grpcbalancer"
	"github.com/sidestep-lb/sidestep/resolver"
)

func isWho(method string) bool { return method == "/quiz.Quiz/Who" }

// dialHedged connects with hedges, and makes so many requests that it is known
// when to send them.
func dialHedged(t *testing.T, methods func(string) bool, pods ...*pod) *grpc.ClientConn {
	t.Helper()
	config := grpcbalancer.Config{Balancer: roundRobin, Hedge: grpcbalancer.Hedge{Percentile: 90, Methods: methods}}
	conn := newClient(t, quiz, append(config.DialOptions(),
		grpc.WithResolvers(resolver.NewBuilder("k8s", resolver.Config{Source: newSource(endpoints(pods...)...)})),
		grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	askUntil(t, conn, pods...)
	mustAsk(t, conn, 150)
	for began := time.Now(); time.Since(began) < 1100*time.Millisecond; time.Sleep(50 * time.Millisecond) {
		mustAsk(t, conn, 1) // it is found anew each second
	}
	return conn
}

func TestARequestThatTakesTooLongIsSentToAnotherPodToo(t *testing.T) {
	a, b, c := startPod(t, "a"), startPod(t, "b"), startPod(t, "c")
	conn := dialHedged(t, isWho, a, b, c)
	c.stalls.Store(true)
	before := c.served.Load()
	for range 15 { // a third of them is hedged, and the budget starts with ten
		began := time.Now()
		name, err := ask(conn, patience)
		if err != nil || name == "c" {
			t.Errorf("%s, %v", name, err)
		}
		if took := time.Since(began); took > patience/4 {
			t.Errorf("a request took %v", took)
		}
	}
	if c.served.Load() == before {
		t.Error("the pod that stalls was never asked")
	}
}

func TestOnlyMethodsThatMayBeExecutedTwiceAreHedged(t *testing.T) {
	a, b := startPod(t, "a"), startPod(t, "b")
	conn := dialHedged(t, func(string) bool { return false }, a, b)
	b.stalls.Store(true)
	failed := 0
	for range 4 {
		if _, err := ask(conn, 300*time.Millisecond); err != nil {
			check(t, err, codes.DeadlineExceeded)
			failed++
		}
	}
	if failed != 2 {
		t.Errorf("%d of 4 requests failed, want those of the pod that stalls", failed)
	}
}

func TestHedgesStayWithinTheBudget(t *testing.T) {
	began := time.Now()
	pods := []*pod{startPod(t, "a"), startPod(t, "b"), startPod(t, "c")}
	conn := dialHedged(t, isWho, pods...)
	for _, p := range pods {
		p.stalls.Store(true)
	}
	asked := func() (n int) {
		for _, p := range pods {
			n += int(p.served.Load())
		}
		return n
	}
	// All begin before one has ended, and all are late, so each would be hedged.
	const requests = 400
	before := asked()
	var all sync.WaitGroup
	for range requests {
		all.Go(func() {
			_, err := ask(conn, 500*time.Millisecond)
			check(t, err, codes.DeadlineExceeded)
		})
	}
	all.Wait()
	// Ten to begin with, a fifth of all requests, and ten a second.
	most := 10 + (before+requests)/5 + int(10*time.Since(began).Seconds())
	n := asked() - before - requests
	t.Logf("%d hedges for %d requests, %d at most", n, requests, most)
	if n > most {
		t.Errorf("%d hedges, want %d at most", n, most)
	}
}

// The caller sees one call: one answer with its own header, trailer and peer, and
// one end.
func TestTheCallerOfAHedgedCallSeesOneCall(t *testing.T) {
	a, b := startPod(t, "a"), startPod(t, "b")
	conn := dialHedged(t, isWho, a, b)
	b.stalls.Store(true)
	for i := range 8 {
		var header, trailer metadata.MD
		var from peer.Peer
		var ends atomic.Int32
		var end error
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		answer := wrapperspb.String("left over from before")
		err := conn.Invoke(ctx, "/quiz.Quiz/Who", new(emptypb.Empty), answer, grpc.Header(&header), grpc.Trailer(&trailer), grpc.Peer(&from),
			grpc.OnFinish(func(err error) {
				ends.Add(1)
				end = err
			}))
		cancel()
		if err != nil || answer.Value != "a" || from.Addr == nil || from.Addr.String() != a.addr.String() {
			t.Errorf("call %d: %q from %v, %v; want a at %v", i, answer.Value, from.Addr, err, a.addr)
		}
		if strings.Join(header.Get("pod"), ",") != "a" || strings.Join(trailer.Get("pod"), ",") != "a" {
			t.Errorf("call %d: header %v, trailer %v", i, header, trailer)
		}
		if ends.Load() != 1 || end != nil {
			t.Errorf("call %d: it ended %d times, with %v", i, ends.Load(), end)
		}
	}
}

func TestARequestThatIsWrongIsNotSentTwice(t *testing.T) {
	wrong := func(p *pod) { p.code = codes.InvalidArgument }
	slow := func(p *pod) { p.delay = 100 * time.Millisecond }
	a, b := startPod(t, "a", wrong, slow), startPod(t, "b", wrong, slow)
	config := grpcbalancer.Config{Balancer: roundRobin, Hedge: grpcbalancer.Hedge{Percentile: 99, Methods: isWho}}
	conn := newClient(t, quiz, append(config.DialOptions(),
		grpc.WithResolvers(resolver.NewBuilder("k8s", resolver.Config{Source: newSource(endpoints(a, b)...)})),
		grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	for range 6 {
		_, err := ask(conn, patience)
		check(t, err, codes.InvalidArgument)
	}
	if n := a.served.Load() + b.served.Load(); n != 6 {
		t.Errorf("6 requests were sent %d times", n)
	}
}

// Without a second backend the hedge has nowhere to go, and does no harm.
func TestThereIsNoHedgeToTheSamePod(t *testing.T) {
	a := startPod(t, "a")
	conn := dialHedged(t, isWho, a)
	a.stalls.Store(true)
	before := a.served.Load()
	_, err := ask(conn, 300*time.Millisecond)
	check(t, err, codes.DeadlineExceeded)
	if n := a.served.Load() - before; n != 1 {
		t.Errorf("the only pod got the request %d times", n)
	}
}

func TestThePodThatWasOvertakenCountsAsSlow(t *testing.T) {
	a, b, c := startPod(t, "a"), startPod(t, "b"), startPod(t, "c")
	// A hedge comes after longer than all but the coldest answers took, so that to be
	// overtaken is slow on any machine, and the budget goes to the pod that stalls.
	config := grpcbalancer.Config{Balancer: balancer.Config{SlowStart: -1}, Hedge: grpcbalancer.Hedge{Percentile: 99, Methods: isWho}}
	conn := newClient(t, quiz, append(config.DialOptions(),
		grpc.WithResolvers(resolver.NewBuilder("k8s", resolver.Config{Source: newSource(endpoints(a, b, c)...)})),
		grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	for began := time.Now(); time.Since(began) < 1100*time.Millisecond || c.served.Load() == 0; {
		mustAsk(t, conn, 150)
	}
	c.stalls.Store(true)
	mustAsk(t, conn, 50)
	before := c.served.Load()
	mustAsk(t, conn, 300)
	if n := c.served.Load() - before; n > 30 {
		t.Errorf("a pod that answers nothing, and whose requests are all overtaken, got %d of 300", n)
	}
}

func TestAnImpossibleHedgeIsAnErrorOfNewClientThatNamesTheField(t *testing.T) {
	for want, hedge := range map[string]grpcbalancer.Hedge{
		"Hedge.Percentile: 100": {Percentile: 100, Methods: isWho},
		"Hedge.Percentile: -1":  {Percentile: -1, Methods: isWho},
		"Hedge.Methods":         {Percentile: 95},
	} {
		_, err := grpc.NewClient(quiz, append(grpcbalancer.Config{Hedge: hedge}.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to say %q", err, want)
		}
	}
}
