package grpcbalancer_test

import (
	"context"
	"fmt"
	"log"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/grpcbalancer"
)

// serve starts a server on a loopback address.
func serve() (addr string, stop func()) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer()
	healthpb.RegisterHealthServer(server, health.NewServer())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(listener)
	}()
	return listener.Addr().String(), func() {
		server.GracefulStop()
		<-ended
	}
}

// In a cluster the target is k8s:///SERVICE.NAMESPACE:PORT. A fixed list of
// addresses takes the same way.
func ExampleNewClient() {
	one, stopOne := serve()
	defer stopOne()
	two, stopTwo := serve()
	defer stopTwo()

	config := grpcbalancer.Config{Balancer: balancer.Config{Policy: balancer.LeastRequest}}
	conn, err := grpcbalancer.NewClient("static:///"+one+","+two, config,
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		panic(err)
	}
	defer conn.Close()

	answer, err := healthpb.NewHealthClient(conn).Check(context.Background(), &healthpb.HealthCheckRequest{})
	fmt.Println(answer.GetStatus(), err)
	// Output: SERVING <nil>
}

// An impossible config is an error that names the field.
func ExampleConfig_Validate() {
	fmt.Println(grpcbalancer.Config{MaxConnections: -1}.Validate())
	// Output: MaxConnections: -1 is negative
}

// The options are for programs that hand them to something that makes the channel.
func ExampleDialOptions() {
	one, stopOne := serve()
	defer stopOne()
	two, stopTwo := serve()
	defer stopTwo()

	conn, err := grpc.NewClient("static:///"+one+","+two, append(grpcbalancer.DialOptions(balancer.Config{}),
		grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		panic(err)
	}
	defer conn.Close()

	answer, err := healthpb.NewHealthClient(conn).Check(context.Background(), &healthpb.HealthCheckRequest{})
	fmt.Println(answer.GetStatus(), err)
	// Output: SERVING <nil>
}

// A service config given after DialOptions takes the place of theirs, here to
// add retries.
func ExampleDialOptions_serviceConfig() {
	one, stop := serve()
	defer stop()
	conn, err := grpc.NewClient("static:///"+one, append(grpcbalancer.DialOptions(balancer.Config{}),
		grpc.WithDefaultServiceConfig(`{
			"loadBalancingConfig": [{"sidestep": {"policy": "round_robin"}}],
			"methodConfig": [{
				"name": [{"service": "grpc.health.v1.Health"}],
				"retryPolicy": {
					"maxAttempts": 3, "initialBackoff": "0.01s", "maxBackoff": "0.1s", "backoffMultiplier": 2,
					"retryableStatusCodes": ["UNAVAILABLE"]
				}
			}]
		}`),
		grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		panic(err)
	}
	defer conn.Close()

	// Which server it was is what gRPC's package peer is for.
	var served peer.Peer
	_, err = healthpb.NewHealthClient(conn).Check(context.Background(), &healthpb.HealthCheckRequest{}, grpc.Peer(&served))
	fmt.Println(served.Addr.String() == one, err)
	// Output: true <nil>
}

// All requests of one user go to the same server, which has that user's data at
// hand.
func ExampleDialOptions_key() {
	one, stop := serve()
	defer stop()
	conn, err := grpc.NewClient("static:///"+one, append(
		grpcbalancer.DialOptions(balancer.Config{Policy: balancer.RingHash}),
		grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		panic(err)
	}
	defer conn.Close()

	ctx := balancer.WithKey(context.Background(), "user-7")
	answer, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
	fmt.Println(answer.GetStatus(), err)
	// Output: SERVING <nil>
}

func ExampleKey() {
	one, stop := serve()
	defer stop()
	conn, err := grpc.NewClient("static:///"+one, append(
		grpcbalancer.DialOptions(balancer.Config{Policy: balancer.Maglev}),
		grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		panic(err)
	}
	defer conn.Close()

	client := healthpb.NewHealthClient(conn)
	answer, err := client.Check(context.Background(), &healthpb.HealthCheckRequest{}, grpcbalancer.Key("user-7"))
	fmt.Println(answer.GetStatus(), err)
	// Output: SERVING <nil>
}

// The slowest twentieth of the calls to one method is sent to a second server as
// well.
func ExampleConfig() {
	one, stopOne := serve()
	defer stopOne()
	two, stopTwo := serve()
	defer stopTwo()

	config := grpcbalancer.Config{
		Balancer: balancer.Config{Policy: balancer.LeastRequest},
		Hedge: grpcbalancer.Hedge{
			Percentile: 95,
			Methods:    func(method string) bool { return method == healthpb.Health_Check_FullMethodName },
		},
	}
	conn, err := grpc.NewClient("static:///"+one+","+two, append(config.DialOptions(),
		grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		panic(err)
	}
	defer conn.Close()

	answer, err := healthpb.NewHealthClient(conn).Check(context.Background(), &healthpb.HealthCheckRequest{})
	fmt.Println(answer.GetStatus(), err)
	// Output: SERVING <nil>
}

func ExampleAll() {
	one, stopOne := serve()
	defer stopOne()
	two, stopTwo := serve()
	defer stopTwo()
	conn, err := grpc.NewClient("static:///"+one+","+two, append(grpcbalancer.DialOptions(balancer.Config{}),
		grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		panic(err)
	}
	defer conn.Close()

	client := healthpb.NewHealthClient(conn)
	results, err := grpcbalancer.All(context.Background(), func(ctx context.Context) (*healthpb.HealthCheckResponse, error) {
		return client.Check(ctx, &healthpb.HealthCheckRequest{})
	})
	for _, r := range results {
		fmt.Println(r.Endpoint.Addr.Addr(), r.Value.GetStatus(), r.Err)
	}
	fmt.Println(err)
	// Output:
	// 127.0.0.1 SERVING <nil>
	// 127.0.0.1 SERVING <nil>
	// <nil>
}

// firstFit is a policy of your own: the first backend that may have the request.
type firstFit struct{}

func (firstFit) Picker(backends []*balancer.Backend) balancer.Picker { return firstFitPicker(backends) }

type firstFitPicker []*balancer.Backend

func (p firstFitPicker) Pick(r balancer.Request) *balancer.Backend {
	for _, b := range p {
		if r.Admits(b) {
			return b
		}
	}
	return nil
}

func init() {
	balancer.RegisterPolicy("first_fit", func(func() uint64) balancer.Policy { return firstFit{} })
}

func ExampleNewClient_registeredPolicy() {
	one, stop := serve()
	defer stop()
	conn, err := grpcbalancer.NewClient("static:///"+one, grpcbalancer.Config{
		Balancer: balancer.Config{Policy: "first_fit", MaxInFlight: 100},
	}, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		panic(err)
	}
	defer conn.Close()

	answer, err := healthpb.NewHealthClient(conn).Check(context.Background(), &healthpb.HealthCheckRequest{})
	fmt.Println(answer.GetStatus(), err)
	// Output: SERVING <nil>
}
