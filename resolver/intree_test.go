package resolver_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"google.golang.org/grpc"
	_ "google.golang.org/grpc/balancer/leastrequest"
	_ "google.golang.org/grpc/balancer/ringhash"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	grpcresolver "google.golang.org/grpc/resolver"
	"google.golang.org/grpc/status"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/resolver"
)

// The policies that come with gRPC work with this resolver. (So does
// weighted_round_robin, which internal/bench tries: it links the whole of xDS's
// messages.) The value is how many of three pods a hundred requests go to.
var inTree = map[string]int{
	`{"round_robin":{}}`: 3,
	`{"least_request_experimental":{"choiceCount":2}}`:        3,
	`{"ring_hash_experimental":{"requestHashHeader":"user"}}`: 3,
	`{"pick_first":{}}`:                          1,
	`{"pick_first":{"shuffleAddressList":true}}`: 1,
}

// startServer starts a gRPC server that answers health checks.
func startServer(t *testing.T) discovery.Endpoint {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	healthpb.RegisterHealthServer(server, health.NewServer())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		server.Stop()
		<-ended
	})
	return ready(listener.Addr().String())
}

// ask makes a request for a user and returns the address that answered.
func ask(conn *grpc.ClientConn, user string) (netip.AddrPort, error) {
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(context.Background(), "user", user), patience)
	defer cancel()
	var from peer.Peer
	_, err := healthpb.NewHealthClient(conn).Check(ctx, nil, grpc.Peer(&from))
	if err != nil {
		return netip.AddrPort{}, err
	}
	return netip.ParseAddrPort(from.Addr.String())
}

// askMany returns how many requests each address answered.
func askMany(t *testing.T, conn *grpc.ClientConn) map[netip.AddrPort]int {
	t.Helper()
	answers := make(map[netip.AddrPort]int)
	for i := range 100 {
		from, err := ask(conn, strconv.Itoa(i))
		if err != nil {
			t.Fatal(err)
		}
		answers[from]++
	}
	return answers
}

func TestThePoliciesOfGRPCWork(t *testing.T) {
	for policy, spread := range inTree {
		t.Run(policy, func(t *testing.T) {
			a, b, c := startServer(t), startServer(t), startServer(t)
			source := newSource(a, b, c)
			conn, err := grpc.NewClient(quiz, grpc.WithNoProxy(), grpc.WithTransportCredentials(insecure.NewCredentials()),
				grpc.WithResolvers(resolver.NewBuilder("k8s", resolver.Config{Source: source})),
				grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[`+policy+`]}`))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			uses(t, conn, spread, a, b, c)

			// One leaves and another comes, with no connection lost.
			d := startServer(t)
			source.set(b, c, d)
			uses(t, conn, spread, b, c, d)

			// Discovery fails, and nothing changes.
			source.fail(errOutage)
			uses(t, conn, spread, b, c, d)

			// Scaled to zero, and back.
			source.set()
			var failure error
			for deadline := time.Now().Add(patience); failure == nil && time.Now().Before(deadline); {
				_, failure = ask(conn, "A")
			}
			if status.Code(failure) != codes.Unavailable {
				t.Errorf("without endpoints: %v", failure)
			}
			source.set(a, d)
			uses(t, conn, min(spread, 2), a, d)
		})
	}
}

// uses waits until requests go to so many of the endpoints, and to no other.
func uses(t *testing.T, conn *grpc.ClientConn, spread int, endpoints ...discovery.Endpoint) {
	t.Helper()
	known := make(map[netip.AddrPort]bool)
	for _, e := range endpoints {
		known[e.Addr] = true
	}
	var answers map[netip.AddrPort]int
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if _, err := ask(conn, "A"); err != nil { // not back yet
			continue
		}
		answers = askMany(t, conn)
		strangers := 0
		for from := range answers {
			if !known[from] {
				strangers++
			}
		}
		if strangers == 0 && len(answers) == spread {
			return
		}
	}
	t.Errorf("requests go to %v; want %d of %v", answers, spread, known)
}

// Without a policy of the user's there is gRPC's default: this package supplies
// no service config, which would go before one that the user gave.
func TestTheResolverChoosesNoPolicy(t *testing.T) {
	cc := newChannel()
	build(t, cc, quiz, resolver.Config{Source: newSource(ready("10.0.0.1:80"))})
	if s := cc.state(t); s.ServiceConfig != nil {
		t.Errorf("it supplies %v", s.ServiceConfig)
	}
}

// A channel that goes idle closes its resolver and builds another one, and two
// channels build theirs with the same builder.
func TestABuilderBuildsAsOftenAsItIsAsked(t *testing.T) {
	source := newSource(ready("10.0.0.1:80"))
	builder := resolver.NewBuilder("k8s", resolver.Config{Source: source})
	for range 3 {
		one, two := newChannel(), newChannel()
		first, err := builder.Build(target(t, quiz), one, grpcresolver.BuildOptions{})
		second, err2 := builder.Build(target(t, quiz), two, grpcresolver.BuildOptions{})
		if err := errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		one.state(t)
		two.state(t)
		first.Close()
		source.set(ready("10.0.0.1:80"), ready("10.0.0.2:80"))
		two.state(t)
		second.Close()
		source.set(ready("10.0.0.1:80"))
	}
}
