package grpcbalancer_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	grpcresolver "google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/grpcbalancer"
	"github.com/sidestep-lb/sidestep/discovery"
)

// check reports whether err has the code and contains all the texts.
func check(t *testing.T, err error, code codes.Code, texts ...string) {
	t.Helper()
	if status.Code(err) != code {
		t.Errorf("got %v, want code %v", err, code)
	}
	for _, text := range texts {
		if !strings.Contains(fmt.Sprint(err), text) {
			t.Errorf("got %v, want it to say %q", err, text)
		}
	}
}

func TestUnknownPolicyIsAnErrorOfNewClientThatNamesTheField(t *testing.T) {
	_, err := grpc.NewClient(quiz, append(grpcbalancer.DialOptions(balancer.Config{Policy: "roundrobin"}),
		grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err == nil || !strings.Contains(err.Error(), `policy: "roundrobin" is unknown; known are`) {
		t.Errorf("got %v", err)
	}
}

func TestMalformedConfigIsAnErrorOfNewClientThatNamesTheField(t *testing.T) {
	_, err := grpc.NewClient(quiz, append(grpcbalancer.DialOptions(balancer.Config{}),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"sidestep":{"policy":7,"of_the_future":1}}]}`),
		grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err == nil || !strings.Contains(err.Error(), "policy") {
		t.Errorf("got %v", err)
	}
}

func TestScaleToZeroFailsRequestsAtOnceAndNamesTheService(t *testing.T) {
	a := startPod(t, "a")
	source := newSource(endpoints(a)...)
	conn := dial(t, source, roundRobin)
	mustAsk(t, conn, 1)
	for range 3 {
		start := time.Now()
		source.set()
		var err error
		eventually(t, "requests fail", func() bool { _, err = ask(conn, patience); return err != nil })
		check(t, err, codes.Unavailable, quiz, "no endpoint ready")
		if took := time.Since(start); took > time.Second {
			t.Errorf("it took %v", took)
		}
		source.set(endpoints(a)...)
		eventually(t, "requests succeed again", func() bool { _, err = ask(conn, patience); return err == nil })
	}
}

func TestServiceWithoutEndpointsFailsTheVeryFirstRequestWithItsReason(t *testing.T) {
	for range 20 { // the reason must not come after the news
		conn := dial(t, newSource([]discovery.Endpoint{}...), roundRobin)
		_, err := ask(conn, patience)
		check(t, err, codes.Unavailable, quiz, "no endpoint ready: it has no pods")
	}
}

func TestWaitForReadyOutwaitsAServiceWithoutEndpoints(t *testing.T) {
	a := startPod(t, "a")
	source := newSource([]discovery.Endpoint{}...)
	conn := dial(t, source, roundRobin)
	_, err := ask(conn, patience)
	check(t, err, codes.Unavailable)
	answered := make(chan error, 1)
	go func() {
		_, err := ask(conn, patience, grpc.WaitForReady(true))
		answered <- err
	}()
	source.set(endpoints(a)...)
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

func TestForbiddenFailsRequestsAtOnceWithItsText(t *testing.T) {
	source := newSource()
	source.fail(fmt.Errorf("list endpointslices in kiada: %w: add the rule get,list,watch", discovery.ErrForbidden))
	conn := dial(t, source, roundRobin)
	_, err := ask(conn, patience)
	check(t, err, codes.Unavailable, "list endpointslices in kiada", "add the rule")

	a := startPod(t, "a")
	source.set(endpoints(a)...)
	eventually(t, "requests succeed", func() bool { _, err = ask(conn, patience); return err == nil })
}

func TestRequestsWaitForDiscoveryAndThenSayWhyInVain(t *testing.T) {
	source := newSource()
	source.fail(errors.New("dial tcp 10.96.0.1:443: connection refused"))
	conn := dial(t, source, roundRobin)
	start := time.Now()
	_, err := ask(conn, 200*time.Millisecond)
	check(t, err, codes.DeadlineExceeded, "waiting for the endpoints of "+quiz, "10.96.0.1:443: connection refused")
	if took := time.Since(start); took < 200*time.Millisecond {
		t.Errorf("the request gave up after %v", took)
	}

	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_, err = conn.NewStream(ctx, &service.Streams[0], "/quiz.Quiz/Talk")
	check(t, err, codes.DeadlineExceeded, "connection refused")

	a := startPod(t, "a")
	source.set(endpoints(a)...)
	mustAsk(t, conn, 1)
}

func TestDeadlineThatTheServerMissesIsNotBlamedOnDiscovery(t *testing.T) {
	a := startPod(t, "a", func(p *pod) { p.delay = 100 * time.Millisecond })
	conn := dial(t, newSource(endpoints(a)...), roundRobin)
	mustAsk(t, conn, 1)
	_, err := ask(conn, 20*time.Millisecond)
	check(t, err, codes.DeadlineExceeded)
	if strings.Contains(err.Error(), "waiting for the endpoints") {
		t.Error(err)
	}
}

func TestOutageOfDiscoveryDisturbsNothing(t *testing.T) {
	a, b := startPod(t, "a"), startPod(t, "b")
	source := newSource(endpoints(a, b)...)
	conn := dial(t, source, roundRobin)
	askUntil(t, conn, a, b)
	source.fail(errors.New("500 Internal Server Error"))
	source.fail(fmt.Errorf("quiz: %w", discovery.ErrForbidden))
	mustAsk(t, conn, 100)
	if n := a.accepted.Load() + b.accepted.Load(); n != 2 {
		t.Errorf("%d connections were made, want 2", n)
	}
}

func TestUnreachablePodsFailRequestsAndSayHowManyAndWhy(t *testing.T) {
	a, b, c := startPod(t, "a"), startPod(t, "b"), startPod(t, "c")
	for _, p := range []*pod{a, b, c} {
		p.kill()
	}
	conn := dial(t, newSource(endpoints(a, b, c)...), roundRobin)
	_, err := ask(conn, patience)
	check(t, err, codes.Unavailable, quiz, "none of its 3 endpoints can be reached", "connection refused")

	again := startPodAt(t, "b", b.addr.String(), nil)
	eventually(t, "requests succeed", func() bool { _, err := ask(conn, patience); return err == nil })
	askUntil(t, conn, again)
}

func TestResolverErrorFailsRequestsOnlyWhileThereIsNoEndpoint(t *testing.T) {
	a := startPod(t, "a")
	other := manual.NewBuilderWithScheme("other")
	conn := newClient(t, "other:///quiz", append(grpcbalancer.DialOptions(balancer.Config{}),
		grpc.WithResolvers(other), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	conn.Connect()
	other.CC().UpdateState(grpcresolver.State{})
	_, err := ask(conn, patience)
	check(t, err, codes.Unavailable, "other:///quiz", "found no addresses")

	other.CC().ReportError(errors.New("the name server is down"))
	eventually(t, "requests fail with the resolver's error", func() bool {
		_, err = ask(conn, patience)
		return strings.Contains(err.Error(), "the name server is down")
	})
	check(t, err, codes.Unavailable)

	other.CC().UpdateState(grpcresolver.State{Addresses: []grpcresolver.Address{{Addr: a.addr.String()}}})
	mustAsk(t, conn, 1)
	other.CC().ReportError(errors.New("the name server is down"))
	mustAsk(t, conn, 10)
}

func TestAConfigThatCannotBeWrittenIsAnErrorOfNewClient(t *testing.T) {
	for field, config := range map[string]balancer.Config{
		"NewPolicy":         {NewPolicy: func(func() uint64) balancer.Policy { return nil }},
		"activeRequestBias": {ActiveRequestBias: math.NaN()},
		"boundedLoad":       {BoundedLoad: math.Inf(1)},
		"choices":           {Choices: 11},
		"policy":            {Policy: "fastest"},
	} {
		_, err := grpc.NewClient(quiz, append(grpcbalancer.DialOptions(config), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: error %v", field, err)
		}
	}
}
