package grpcbalancer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/sidestep-lb/sidestep/balancer"
)

func authority(ctx context.Context) string {
	md, _ := metadata.FromIncomingContext(ctx)
	if values := md.Get(":authority"); len(values) > 0 {
		return values[0]
	}
	return ""
}

func TestRoundRobinGivesEachPodTheSameShare(t *testing.T) {
	a, b, c := startPod(t, "a"), startPod(t, "b"), startPod(t, "c")
	conn := dial(t, newSource(endpoints(a, b, c)...), roundRobin)
	askUntil(t, conn, a, b, c)
	for name, n := range mustAsk(t, conn, 300) {
		if n != 100 {
			t.Errorf("pod %s answered %d of 300 requests, want 100", name, n)
		}
	}
}

func TestLeastRequestAvoidsASlowPod(t *testing.T) {
	a, b := startPod(t, "a"), startPod(t, "b")
	slow := startPod(t, "slow", func(p *pod) { p.delay = 50 * time.Millisecond })
	conn := dial(t, newSource(endpoints(a, b, slow)...), balancer.Config{Policy: balancer.LeastRequest})
	askUntil(t, conn, a, b, slow)
	before := slow.served.Load()
	load := startLoad(conn, 8)
	eventually(t, "800 requests are made", func() bool { return load.asked.Load() >= 800 })
	if failed := load.stop(); len(failed) > 0 {
		t.Errorf("%d requests failed, the first: %v", len(failed), failed[0])
	}
	if share := slow.served.Load() - before; share > 200 {
		t.Errorf("the slow pod of three got %d of 800 requests", share)
	}
}

func TestUpdateKeepsTheConnectionsOfPodsThatStay(t *testing.T) {
	a, b, c := startPod(t, "a"), startPod(t, "b"), startPod(t, "c")
	source := newSource(endpoints(a, b)...)
	conn := dial(t, source, roundRobin)
	askUntil(t, conn, a, b)
	source.set(endpoints(b, c)...)
	askUntil(t, conn, b, c)
	if n := b.accepted.Load(); n != 1 {
		t.Errorf("the pod that stayed was connected to %d times", n)
	}
}

func TestPodThatLeavesFinishesItsStreamAndGetsNothingNew(t *testing.T) {
	a, b := startPod(t, "a"), startPod(t, "b")
	source := newSource(endpoints(a)...)
	conn := dial(t, source, roundRobin)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	stream, err := conn.NewStream(ctx, &service.Streams[0], "/quiz.Quiz/Talk")
	if err != nil {
		t.Fatal(err)
	}
	talkTo(t, stream)

	source.set(endpoints(b)...)
	askUntil(t, conn, b)
	served := a.served.Load()
	mustAsk(t, conn, 50)
	for range 3 {
		talkTo(t, stream)
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if err := stream.RecvMsg(new(wrapperspb.StringValue)); !errors.Is(err, io.EOF) {
		t.Errorf("the stream ended with %v", err)
	}
	if n := a.served.Load() - served; n != 0 {
		t.Errorf("the pod that left got %d requests", n)
	}
}

func talkTo(t *testing.T, stream grpc.ClientStream) string {
	t.Helper()
	if err := stream.SendMsg(new(emptypb.Empty)); err != nil {
		t.Fatal(err)
	}
	var answer wrapperspb.StringValue
	if err := stream.RecvMsg(&answer); err != nil {
		t.Fatal(err)
	}
	return answer.Value
}

func TestDeadPodCostsNoMoreThanTheRequestsInFlightAndComesBack(t *testing.T) {
	a, b, c := startPod(t, "a"), startPod(t, "b"), startPod(t, "c")
	conn := dial(t, newSource(endpoints(a, b, c)...), roundRobin)
	askUntil(t, conn, a, b, c)
	const workers = 4
	load := startLoad(conn, workers)
	c.kill() // discovery does not notice
	askUntil(t, conn, a, b)
	asked := load.asked.Load()
	eventually(t, "200 more requests are made", func() bool { return load.asked.Load() >= asked+200 })

	again := startPodAt(t, "c", c.addr.String(), nil)
	askUntil(t, conn, a, b, again)
	if failed := load.stop(); len(failed) > workers {
		t.Errorf("%d requests failed with %d in flight at a time, the last: %v", len(failed), workers, failed[len(failed)-1])
	}
}

func TestSameAddressUnderANewUIDIsANewConnection(t *testing.T) {
	a := startPod(t, "a")
	source := newSource(endpoints(a)...)
	conn := dial(t, source, roundRobin)
	mustAsk(t, conn, 1)
	a.uid = "uid-of-its-successor"
	source.set(endpoints(a)...)
	eventually(t, "the pod is connected to anew", func() bool { return a.accepted.Load() == 2 })
	mustAsk(t, conn, 10)
}

func TestRollingRestartFailsNoRequest(t *testing.T) {
	pods := []*pod{startPod(t, "old-0"), startPod(t, "old-1"), startPod(t, "old-2")}
	source := newSource(endpoints(pods...)...)
	conn := dial(t, source, roundRobin)
	askUntil(t, conn, pods...)
	load := startLoad(conn, 8)
	for i := range pods {
		next := startPod(t, fmt.Sprintf("new-%d", i))
		old := pods[i]
		pods[i] = next
		// As in a rollout: the pod is told to stop at the moment when it leaves
		// the EndpointSlice, and this client learns of it later.
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			old.server.GracefulStop()
		}()
		asked := load.asked.Load()
		eventually(t, "20 more requests are made", func() bool { return load.asked.Load() >= asked+20 })
		source.set(endpoints(pods...)...)
		<-stopped
		eventually(t, "the new pod answers", func() bool { return next.served.Load() > 0 })
	}
	if failed := load.stop(); len(failed) > 0 {
		t.Errorf("%d of %d requests failed, the first: %v", len(failed), load.asked.Load(), failed[0])
	}
}

func TestPodThatSaysItIsNotServingIsLeftAlone(t *testing.T) {
	a, b := startPod(t, "a"), startPod(t, "b")
	for _, p := range []*pod{a, b} {
		p.health.SetServingStatus("quiz", healthpb.HealthCheckResponse_SERVING)
	}
	conn := dial(t, newSource(endpoints(a, b)...), balancer.Config{}, grpc.WithDefaultServiceConfig(
		`{"loadBalancingConfig":[{"sidestep":{"policy":"round_robin"}}],"healthCheckConfig":{"serviceName":"quiz"}}`))
	askUntil(t, conn, a, b)
	b.health.SetServingStatus("quiz", healthpb.HealthCheckResponse_NOT_SERVING)
	askUntil(t, conn, a)
	b.health.SetServingStatus("quiz", healthpb.HealthCheckResponse_SERVING)
	askUntil(t, conn, a, b)
	if n := b.accepted.Load(); n != 1 {
		t.Errorf("the pod was connected to %d times, want once", n)
	}
}

func TestIdleChannelComesBack(t *testing.T) {
	a := startPod(t, "a")
	conn := dial(t, newSource(endpoints(a)...), balancer.Config{}, grpc.WithIdleTimeout(50*time.Millisecond))
	for range 2 {
		mustAsk(t, conn, 3)
		eventually(t, "the channel is idle", func() bool { return conn.GetState() == connectivity.Idle })
	}
	mustAsk(t, conn, 3)
	if n := a.accepted.Load(); n != 3 {
		t.Errorf("the pod was connected to %d times, want 3", n)
	}
}

func TestConnectMakesTheConnectionsBeforeTheFirstRequest(t *testing.T) {
	a := startPod(t, "a")
	conn := dial(t, newSource(endpoints(a)...), roundRobin)
	conn.Connect()
	eventually(t, "the channel is ready", func() bool { return conn.GetState() == connectivity.Ready })
}

func TestCloseWhileRequestsRunIsCleanAndRepeatable(t *testing.T) {
	a, b := startPod(t, "a"), startPod(t, "b")
	source := newSource(endpoints(a, b)...)
	conn := dial(t, source, roundRobin)
	load := startLoad(conn, 4)
	source.set(endpoints(a)...)
	conn.Close()
	source.set(endpoints(b)...)
	conn.Close()
	for _, err := range load.stop() {
		check(t, err, codes.Canceled, "closing")
	}
}

func TestTheDefaultPolicyAvoidsASlowPod(t *testing.T) {
	a, b := startPod(t, "a"), startPod(t, "b")
	slow := startPod(t, "slow", func(p *pod) { p.delay = 50 * time.Millisecond })
	conn := dial(t, newSource(endpoints(a, b, slow)...), balancer.Config{})
	eventually(t, "all pods have answered", func() bool {
		_, err := ask(conn, patience)
		return err == nil && a.served.Load() > 0 && b.served.Load() > 0 && slow.served.Load() > 0
	})
	before := slow.served.Load()
	for range 300 {
		if _, err := ask(conn, patience); err != nil {
			t.Fatal(err)
		}
	}
	if share := slow.served.Load() - before; share > 30 {
		t.Errorf("the slow pod of three got %d of 300 requests", share)
	}
}
