package grpcbalancer_test

import (
	"context"
	"errors"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/grpcbalancer"
	"github.com/sidestep-lb/sidestep/discovery"
)

func TestAFailedCallSaysWhereItWentAndHowOften(t *testing.T) {
	fails := func(p *pod) { p.code = codes.Unavailable }
	pods := []*pod{startPod(t, "quiz-0", fails), startPod(t, "quiz-1", fails)}
	conn, err := grpcbalancer.NewClient(quiz, grpcbalancer.Config{
		Balancer: never,
		Source:   newSource(endpoints(pods...)...),
		Retry:    grpcbalancer.Retry{Codes: []codes.Code{codes.Unavailable}, Methods: isWho},
	}, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	allConnected(t, conn, len(pods))
	_, err = ask(conn, patience)
	if status.Code(err) != codes.Unavailable || !errors.Is(err, status.Convert(err).Err()) {
		t.Errorf("%v is not the status of the call", err)
	}
	failed, ok := errors.AsType[*balancer.CallError](err)
	if !ok {
		t.Fatalf("%v is no *balancer.CallError", err)
	}
	if failed.Target != quiz || failed.Attempts != 2 || failed.Endpoint == nil || status.Code(failed.Err) != codes.Unavailable {
		t.Errorf("got %+v", failed)
	}
	if pod := failed.Endpoint.Pod; pod != "quiz-0" && pod != "quiz-1" {
		t.Errorf("the endpoint is %v", failed.Endpoint)
	}
}

func TestAStreamThatFailsSaysWhereItWent(t *testing.T) {
	p := startPod(t, "quiz-0")
	conn := dial(t, newSource(p.endpoint()), roundRobin)
	mustAsk(t, conn, 1)
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/quiz.Quiz/Talk")
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	err = stream.RecvMsg(nil)
	failed, ok := errors.AsType[*balancer.CallError](err)
	if !ok || failed.Target != quiz || failed.Attempts != 1 || failed.Endpoint.Pod != "quiz-0" || status.Code(err) != codes.Canceled {
		t.Errorf("got %+v of %v", failed, err)
	}
}

func TestACallThatNoPodGotHasNoEndpointInItsError(t *testing.T) {
	_, err := ask(dial(t, newSource([]discovery.Endpoint{}...), roundRobin), patience)
	failed, ok := errors.AsType[*balancer.CallError](err)
	if !ok || failed.Endpoint != nil || failed.Attempts != 0 || status.Code(err) != codes.Unavailable {
		t.Errorf("got %+v of %v", failed, err)
	}
}
