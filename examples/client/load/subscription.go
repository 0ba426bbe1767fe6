package load

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// subscribeAgain is how long a client waits before it replaces a subscription
// that has ended.
const subscribeAgain = 100 * time.Millisecond

// keepSubscribed holds one subscription until ctx ends.
func (l *load) keepSubscribed(ctx context.Context) {
	for ctx.Err() == nil {
		_ = l.way.Subscribe(ctx, l.addSubscription) // however it ended, it is opened again
		sleepUntil(ctx, time.Now().Add(subscribeAgain))
	}
}

// watchHealth is a subscription over gRPC. A pod that stops says that it does
// not serve, and its client leaves.
func watchHealth(ctx context.Context, conn *grpc.ClientConn, opened func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := healthpb.NewHealthClient(conn).Watch(ctx, &healthpb.HealthCheckRequest{})
	if err != nil {
		return err
	}
	for n := 0; ; n++ {
		state, err := stream.Recv()
		if err != nil {
			return err
		}
		if n == 0 {
			opened()
		}
		if state.GetStatus() != healthpb.HealthCheckResponse_SERVING {
			return nil
		}
	}
}

// subscribe is a subscription over HTTP.
func subscribe(ctx context.Context, client *http.Client, url string, opened func()) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("subscribe to %s: status %s", url, response.Status)
	}
	opened()
	_, err = io.Copy(io.Discard, response.Body)
	return err
}
