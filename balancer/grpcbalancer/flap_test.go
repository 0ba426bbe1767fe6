package grpcbalancer_test

import (
	"context"
	"errors"
	"io"
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
)

func TestAStreamOutlivesAReadinessProbeThatFailed(t *testing.T) {
	a, b := startPod(t, "a"), startPod(t, "b")
	source := newSource(endpoints(a)...)
	conn := dial(t, source, roundRobin)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	stream, err := conn.NewStream(ctx, &service.Streams[0], "/quiz.Quiz/Talk")
	if err != nil {
		t.Fatal(err)
	}
	talkTo(t, stream)
	notReady := a.endpoint()
	notReady.Ready, notReady.Serving = false, false
	for range 3 {
		source.set(notReady, b.endpoint())
		askUntil(t, conn, b)
		for began := time.Now(); time.Since(began) < 200*time.Millisecond; { // longer than its connection is kept open for newcomers
			talkTo(t, stream)
		}
		source.set(a.endpoint(), b.endpoint())
		askUntil(t, conn, a, b)
		if name := talkTo(t, stream); name != "a" {
			t.Errorf("%s answered", name)
		}
	}
	_ = stream.CloseSend()
	if err := drainStream(stream); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	wantHealthy(t, 0)
}

func TestAFullPodIsPassedOverWhileAnotherHasRoom(t *testing.T) {
	pods := []*pod{startPod(t, "a"), startPod(t, "b")}
	config := grpcbalancer.Config{Balancer: never, MaxConnections: 2, StreamsPerConnection: 2}
	conn := dialWith(t, config, pods)
	allConnected(t, conn, 2)
	openStreams(t, conn, pods[0], 4) // all that its connections have room for
	eventually(t, "it is full", func() bool {
		for _, s := range statusOf(quiz).Backends {
			if s.Pod == "a" && s.Answered == 4 {
				return pods[0].accepted.Load() == 2
			}
		}
		return false
	})
	if got := mustAsk(t, conn, 20); got["b"] != 20 {
		t.Errorf("answers: %v", got)
	}
	openStreams(t, conn, pods[1], 4)
	if got := mustAsk(t, conn, 20); got["a"] == 0 || got["b"] == 0 {
		t.Errorf("both are full, and not both are asked: %v", got)
	}
}

func TestAStatusOfANameResolverIsNotThatOfTheRequest(t *testing.T) {
	for _, code := range []codes.Code{codes.NotFound, codes.PermissionDenied, codes.Unavailable} {
		a := startPod(t, "a")
		names := manual.NewBuilderWithScheme("manual")
		conn := newClient(t, "manual:///quiz", append(grpcbalancer.DialOptions(balancer.Config{}),
			grpc.WithResolvers(names), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
		conn.Connect()
		names.CC().UpdateState(grpcresolver.State{}) // before that it is gRPC itself that fails requests
		names.CC().ReportError(status.Error(code, "no such name"))
		eventually(t, "requests fail with the resolver's error", func() bool {
			_, err := ask(conn, patience)
			return status.Code(err) == codes.Unavailable && strings.Contains(err.Error(), "no such name")
		})
		waited := make(chan error)
		go func() {
			_, err := ask(conn, patience, grpc.WaitForReady(true))
			waited <- err
		}()
		select {
		case err := <-waited:
			t.Fatalf("%v: one that waits for READY ended: %v", code, err)
		case <-time.After(50 * time.Millisecond):
		}
		names.CC().UpdateState(grpcresolver.State{Addresses: []grpcresolver.Address{{Addr: a.addr.String()}}})
		if err := <-waited; err != nil {
			t.Errorf("%v: %v", code, err)
		}
	}
}

func TestAChannelThatWasIdleKnowsItsPodsWhileTheSourceIsAway(t *testing.T) {
	a := startPod(t, "a")
	source := newSource(endpoints(a)...)
	conn := dial(t, source, roundRobin, grpc.WithIdleTimeout(20*time.Millisecond))
	mustAsk(t, conn, 1)
	source.fail(errors.New("connection refused"))
	for range 3 {
		eventually(t, "it is idle", func() bool { return conn.GetState().String() == "IDLE" })
		mustAsk(t, conn, 1)
	}
}
