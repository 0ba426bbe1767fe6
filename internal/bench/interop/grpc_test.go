//go:build linux

package interop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/grpcbalancer"
)

// A caller makes unary calls, whose answer is the question.
type caller struct {
	call  func(ctx context.Context, question []byte) ([]byte, error)
	tally tally
	last  atomic.Int64 // number of the last call
}

func (c *caller) ask() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	question := append(fmt.Append(nil, c.last.Add(1)), bytes.Repeat([]byte{'.'}, 1000)...)
	answer, err := c.call(ctx, question)
	if err == nil && !bytes.Equal(question, answer) {
		return errors.New("the answer is to another question")
	}
	return err
}

// A callTest is a test of one server by unary calls.
type callTest struct {
	pods         []*pod
	adapter      string // that the calls of ours go through
	ours, theirs func(w *way) *caller
	// callsMayFail says that the server does not say what it has processed.
	callsMayFail bool
}

func (c *callTest) run(t *testing.T) {
	var ways []*way
	var callers [][2]*caller
	for _, distance := range distances {
		w := newWay(t, c.pods, distance)
		ways = append(ways, w)
		callers = append(callers, [2]*caller{c.ours(w), c.theirs(w)})
	}
	var all crowd
	for i, w := range ways {
		n := 6
		if w.distance >= 10*time.Millisecond {
			n = 24
		}
		for _, c := range callers[i] {
			for range n {
				all.add(func() { c.tally.add(c.ask()) })
			}
		}
	}
	all.disturb(t, c.pods, ways)
	all.end()
	for i, w := range ways {
		what := fmt.Sprintf("%v away", w.distance)
		compare(t, what+": calls", !c.callsMayFail, &callers[i][0].tally, &callers[i][1].tally)
		checkBalancer(t, w.target(), c.adapter, what)
	}
}

// A grpcTest is a test of one server by grpc-go, with sidestep and with round_robin.
type grpcTest struct {
	pods         []*pod
	callsMayFail bool
}

func (g *grpcTest) run(t *testing.T) {
	c := callTest{
		pods: g.pods, adapter: "grpc", callsMayFail: g.callsMayFail,
		ours: func(w *way) *caller {
			return newCaller(t, w.target(), grpcbalancer.DialOptions(balancer.Config{})...)
		},
		theirs: func(w *way) *caller { return peerCaller(t, w) },
	}
	c.run(t)
}

// peerCaller returns a caller that balances by grpc-go's own round_robin.
func peerCaller(t *testing.T, w *way) *caller {
	r := manual.NewBuilderWithScheme("pods")
	var state resolver.State
	for _, addr := range w.addrs {
		state.Endpoints = append(state.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: addr}}})
	}
	r.InitialState(state)
	return newCaller(t, "pods:///quiz", grpc.WithResolvers(r), grpc.WithNoProxy(),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"round_robin": {}}]}`))
}

func newCaller(t *testing.T, target string, options ...grpc.DialOption) *caller {
	t.Helper()
	conn, err := grpc.NewClient(target, append(options, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority("quiz.kiada"))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &caller{call: func(ctx context.Context, question []byte) ([]byte, error) {
		var answer wrapperspb.BytesValue
		err := conn.Invoke(ctx, procedure, wrapperspb.Bytes(question), &answer)
		return answer.GetValue(), err
	}}
}

// nginxGRPCPods are nginx servers with grpc_pass before a connect-go server.
func nginxGRPCPods(t *testing.T, more string) []*pod {
	settings := fmt.Sprintf("upstream origin { server %s; keepalive 32; } %s", newConnect(t).addr, more)
	const location = "grpc_pass grpc://origin;"
	return []*pod{newNginx(t, "http2", settings, location), newNginx(t, "http2", settings, location)}
}

func TestNginxReloadGRPC(t *testing.T) {
	g := grpcTest{pods: nginxGRPCPods(t, "")}
	g.run(t)
}

// The last of a thousand calls on a connection comes with GOAWAY.
func TestNginxKeepaliveRequestsGRPC(t *testing.T) {
	g := grpcTest{pods: nginxGRPCPods(t, "keepalive_requests 100;")}
	for _, p := range g.pods {
		p.disturb = nil
	}
	g.run(t)
}

// At Shutdown net/http's server sends GOAWAY with the last stream that it has seen.
func TestConnectShutdownGRPC(t *testing.T) {
	// With three pods there is always one that the clients have lost no connection to,
	// whatever their back-off.
	g := grpcTest{pods: []*pod{newConnect(t), newConnect(t), newConnect(t)}}
	g.run(t)
}

// At max_connection_age grpc-js sends GOAWAY for the highest stream, and at once
// another one for the last that it has seen.
func TestGRPCJSMaxConnectionAge(t *testing.T) {
	modules := nodeModules(t)
	g := grpcTest{pods: []*pod{newNode(t, "grpc.js", modules, "400"), newNode(t, "grpc.js", modules, "400")}}
	for _, p := range g.pods {
		p.disturb = nil
	}
	g.run(t)
}

// At tryShutdown grpc-js sends GOAWAY with the last stream that it has seen.
func TestGRPCJSShutdown(t *testing.T) {
	modules := nodeModules(t)
	g := grpcTest{pods: []*pod{newNode(t, "grpc.js", modules, "0"), newNode(t, "grpc.js", modules, "0"), newNode(t, "grpc.js", modules, "0")}}
	g.run(t)
}
