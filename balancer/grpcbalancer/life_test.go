package grpcbalancer_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/health"
)

// Unary calls, impatient ones and subscriptions go on while servers that limit the
// age of their connections are restarted gracefully, one after the other.
func TestARolloutUnderMixedLoadFailsNothingAndEjectsNobody(t *testing.T) {
	options := []grpc.ServerOption{grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionAge: 300 * time.Millisecond, MaxConnectionAgeGrace: patience})}
	slow := func(p *pod) { p.delay = time.Duration(1+rand.IntN(5)) * time.Millisecond }
	pods := []*pod{startPodAt(t, "a", "127.0.0.1:0", options, slow), startPodAt(t, "b", "127.0.0.1:0", options, slow), startPodAt(t, "c", "127.0.0.1:0", options, slow)}
	source := newSource(endpoints(pods...)...)
	conn := dial(t, source, balancer.Config{})
	askUntil(t, conn, pods...)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var others sync.WaitGroup
	for range 3 {
		others.Go(func() { // subscriptions with a time limit
			for ctx.Err() == nil {
				ctx, cancel := context.WithTimeout(ctx, 150*time.Millisecond)
				stream, err := conn.NewStream(ctx, &service.Streams[0], "/quiz.Quiz/Talk")
				if err == nil && stream.SendMsg(new(emptypb.Empty)) == nil {
					err = drainStream(stream)
				}
				if c := status.Code(err); c != codes.DeadlineExceeded && c != codes.Canceled && ctx.Err() == nil {
					t.Errorf("a subscription: %v", err)
				}
				cancel()
			}
		})
		others.Go(func() { // callers that give up
			for ctx.Err() == nil {
				ctx, cancel := context.WithCancel(ctx)
				time.AfterFunc(rand.N(3*time.Millisecond), cancel)
				_ = conn.Invoke(ctx, "/quiz.Quiz/Who", new(emptypb.Empty), new(wrapperspb.StringValue))
				cancel()
			}
		})
	}
	load := startLoad(conn, 4)
	for i, name := range []string{"d", "e", "f"} {
		next := startPodAt(t, name, "127.0.0.1:0", options, slow)
		source.set(append(endpoints(pods...), next.endpoint())...)
		eventually(t, "the new pod answers", func() bool { return next.served.Load() > 0 })
		old := pods[i]
		pods[i] = next
		source.set(endpoints(pods...)...)
		old.server.GracefulStop()
	}
	if failed := load.stop(); len(failed) > 0 {
		t.Errorf("%d of %d calls failed, the first: %v", len(failed), load.asked.Load(), failed[0])
	}
	cancel()
	others.Wait()
	s := statusOf(quiz)
	for cause, n := range s.Counts.Ejections {
		if n > 0 {
			t.Errorf("%d ejections by %v", n, cause)
		}
	}
	if got := s.Requests[""]; got[health.Failure]+got[health.Unreachable] > 0 {
		t.Errorf("outcomes: %v", got)
	}
	eventually(t, "nothing is in flight", func() bool {
		for _, b := range statusOf(quiz).Backends {
			if b.InFlight != 0 {
				return false
			}
		}
		return true
	})
}
