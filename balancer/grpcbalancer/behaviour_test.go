package grpcbalancer_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	grpcresolver "google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/grpcbalancer"
)

// What gRPC promises its users holds with this policy as with its own.

func TestThePolicyMayBeSwitchedWhileRequestsRun(t *testing.T) {
	pods := []*pod{startPod(t, "a"), startPod(t, "b"), startPod(t, "c")}
	var addresses []grpcresolver.Address
	for _, p := range pods {
		addresses = append(addresses, grpcresolver.Address{Addr: p.addr.String()})
	}
	names := manual.NewBuilderWithScheme("manual")
	names.InitialState(grpcresolver.State{Addresses: addresses})
	conn := newClient(t, "manual:///quiz", append(grpcbalancer.DialOptions(balancer.Config{}),
		grpc.WithResolvers(names), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	askUntil(t, conn, pods...)
	load := startLoad(conn, 4)
	for _, config := range []string{
		`[{"round_robin":{}}]`, `[{"sidestep":{"policy":"round_robin"}}]`, `[{"sidestep":{"policy":"least_request"}}]`,
		`[{"pick_first":{}}]`, `[{"sidestep":{}}]`,
	} {
		parsed := names.CC().ParseServiceConfig(fmt.Sprintf(`{"loadBalancingConfig":%s}`, config))
		if parsed.Err != nil {
			t.Fatal(parsed.Err)
		}
		names.UpdateState(grpcresolver.State{Addresses: addresses, ServiceConfig: parsed})
		asked := load.asked.Load()
		eventually(t, "50 more requests are made", func() bool { return load.asked.Load() >= asked+50 })
	}
	if failed := load.stop(); len(failed) > 0 {
		t.Errorf("%d requests failed, the first: %v", len(failed), failed[0])
	}
}

// gRFC A9: a server that closes its connections when they are a certain age.
func TestServersThatLimitTheAgeOfConnectionsFailNoRequest(t *testing.T) {
	aged := []grpc.ServerOption{grpc.KeepaliveParams(keepalive.ServerParameters{
		MaxConnectionAge: 50 * time.Millisecond, MaxConnectionAgeGrace: time.Second,
	})}
	a, b := startPodAt(t, "a", "127.0.0.1:0", aged), startPodAt(t, "b", "127.0.0.1:0", aged)
	conn := dial(t, newSource(endpoints(a, b)...), balancer.Config{})
	load := startLoad(conn, 4)
	eventually(t, "each pod was connected to five times", func() bool { return a.accepted.Load() >= 5 && b.accepted.Load() >= 5 })
	if failed := load.stop(); len(failed) > 0 {
		t.Errorf("%d of %d requests failed, the first: %v", len(failed), load.asked.Load(), failed[0])
	}
}

func TestRequestsThatDoNotWaitForReadyFailAtOnceWhenNoPodCanBeReached(t *testing.T) {
	a := startPod(t, "a")
	conn := dial(t, newSource(endpoints(a)...), balancer.Config{})
	mustAsk(t, conn, 1)
	addr := a.addr.String()
	a.kill()
	eventually(t, "the channel has failed", func() bool {
		_, err := ask(conn, patience)
		return err != nil && conn.GetState() == connectivity.TransientFailure
	})
	began := time.Now()
	_, err := ask(conn, patience)
	check(t, err, codes.Unavailable, quiz, "none of its 1 endpoints can be reached", "connection refused")
	if took := time.Since(began); took > patience/4 {
		t.Errorf("it took %v", took)
	}
	// And one that waits is served when the pod is back.
	answered := make(chan error, 1)
	go func() {
		_, err := ask(conn, patience, grpc.WaitForReady(true))
		answered <- err
	}()
	startPodAt(t, "again", addr, nil)
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

func TestARequestThatWaitsForReadyEndsWithItsContext(t *testing.T) {
	a := startPod(t, "a")
	a.kill()
	conn := dial(t, newSource(endpoints(a)...), balancer.Config{})
	_, err := ask(conn, 200*time.Millisecond, grpc.WaitForReady(true))
	check(t, err, codes.DeadlineExceeded, "none of its 1 endpoints can be reached")
}

func TestCloseDuringConnectEndsRequestsThatWait(t *testing.T) {
	for range 20 {
		a := startPod(t, "a")
		conn := dial(t, newSource(endpoints(a)...), balancer.Config{})
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				if _, err := ask(conn, patience, grpc.WaitForReady(true)); err != nil {
					check(t, err, codes.Canceled, "closing")
				}
			})
		}
		conn.Close()
		all.Wait()
		a.kill()
	}
}

// A stream keeps its pod when the channel goes on to others, and a cancelled one
// is over at both ends.
func TestACancelledStreamEndsAtOnce(t *testing.T) {
	a := startPod(t, "a")
	conn := dial(t, newSource(endpoints(a)...), balancer.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := conn.NewStream(ctx, &service.Streams[0], "/quiz.Quiz/Talk")
	if err != nil {
		t.Fatal(err)
	}
	talkTo(t, stream)
	cancel()
	check(t, stream.RecvMsg(new(wrapperspb.StringValue)), codes.Canceled)
	mustAsk(t, conn, 10)
}

// A picker's error may carry no status of the control plane's own (gRFC A54):
// all that a user sees of this policy is UNAVAILABLE, or the deadline.
func TestErrorsOfPicksAreUnavailable(t *testing.T) {
	source := newSource()
	source.fail(errors.New("list endpointslices: 500 Internal Server Error"))
	conn := dial(t, source, balancer.Config{})
	_, err := ask(conn, 100*time.Millisecond)
	check(t, err, codes.DeadlineExceeded, "500 Internal")
	source.set()
	eventually(t, "requests fail", func() bool { _, err = ask(conn, patience); return err != nil })
	check(t, err, codes.Unavailable, "no endpoint ready")
}

func TestTheUsersServiceConfigGoesBeforeTheDefault(t *testing.T) {
	a, b := startPod(t, "a"), startPod(t, "b")
	conn := dial(t, newSource(endpoints(a, b)...), balancer.Config{}, grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"pick_first":{}}]}`))
	mustAsk(t, conn, 20)
	if a.served.Load() > 0 && b.served.Load() > 0 {
		t.Errorf("pick_first asked both: %d and %d", a.served.Load(), b.served.Load())
	}
}
