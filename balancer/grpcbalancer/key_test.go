package grpcbalancer_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/grpcbalancer"
)

func askWith(t *testing.T, ctx context.Context, conn *grpc.ClientConn) string { //nolint:revive // t goes first in tests
	t.Helper()
	var answer wrapperspb.StringValue
	if err := conn.Invoke(ctx, "/quiz.Quiz/Who", new(emptypb.Empty), &answer); err != nil {
		t.Fatal(err)
	}
	return answer.Value
}

func TestRequestsWithTheSameKeyGoToTheSamePod(t *testing.T) {
	pods := []*pod{startPod(t, "quiz-0"), startPod(t, "quiz-1"), startPod(t, "quiz-2"), startPod(t, "quiz-3")}
	config := balancer.Config{Policy: balancer.RingHash, HashKey: balancer.KeySource{Header: "X-User"}, SlowStart: -1}
	one, two := dial(t, newSource(endpoints(pods...)...), config), dial(t, newSource(endpoints(pods...)...), config)
	askUntil(t, one, pods...)
	askUntil(t, two, pods...)

	used := map[string]bool{}
	for i := range 20 {
		user := fmt.Sprint("user-", i)
		inMetadata := metadata.AppendToOutgoingContext(t.Context(), "x-user", user, "x-other", fmt.Sprint(i))
		inContext := balancer.WithKey(metadata.AppendToOutgoingContext(t.Context(), "x-user", "somebody else"), user)
		first := askWith(t, inMetadata, one)
		used[first] = true
		for _, again := range []string{askWith(t, inMetadata, one), askWith(t, inMetadata, two), askWith(t, inContext, two)} {
			if again != first {
				t.Fatalf("requests of %s went to %s and %s", user, first, again)
			}
		}
	}
	if len(used) != len(pods) {
		t.Errorf("20 users use %d of %d pods", len(used), len(pods))
	}
}

func TestAKeyInACookieIsAnErrorThatNamesTheField(t *testing.T) {
	options := append(grpcbalancer.DialOptions(balancer.Config{Policy: balancer.Maglev, HashKey: balancer.KeySource{Cookie: "session"}}),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	_, err := grpc.NewClient(quiz, options...)
	if err == nil || !strings.Contains(err.Error(), "hashKey.cookie") {
		t.Errorf("%v, want an error that names hashKey.cookie", err)
	}
}
