package grpcbalancer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/grpcbalancer"
	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/resolver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	quiz     = "k8s:///quiz.kiada:grpc"
	patience = 10 * time.Second // how long a test waits for what must happen
)

// A pod is a gRPC server on a loopback address. It answers each request with
// its name.
type pod struct {
	name     string
	addr     netip.AddrPort
	uid      string
	delay    time.Duration
	code     codes.Code  // of its answers
	stalls   atomic.Bool // it answers no request before the caller gives up
	refuses  atomic.Bool // it takes no stream
	entered  func()      // called with each request, if set
	left     func()      // and at its end
	health   *health.Server
	server   *grpc.Server
	ended    chan struct{}
	accepted atomic.Int32 // connections
	served   atomic.Int32 // requests
	host     atomic.Value // the :authority of the latest request
}

func startPod(t *testing.T, name string, configure ...func(*pod)) *pod {
	t.Helper()
	return startPodAt(t, name, "127.0.0.1:0", nil, configure...)
}

func startPodAt(t *testing.T, name, addr string, options []grpc.ServerOption, configure ...func(*pod)) *pod {
	t.Helper()
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	p := &pod{
		name:   name,
		addr:   netip.MustParseAddrPort(listener.Addr().String()),
		uid:    "uid-" + name,
		health: health.NewServer(),
		server: grpc.NewServer(options...),
		ended:  make(chan struct{}),
	}
	for _, f := range configure {
		f(p)
	}
	p.server.RegisterService(&service, p)
	healthpb.RegisterHealthServer(p.server, p.health)
	go func() {
		defer close(p.ended)
		_ = p.server.Serve(countingListener{listener, &p.accepted})
	}()
	t.Cleanup(p.kill)
	return p
}

// kill ends the pod without a word.
func (p *pod) kill() {
	p.server.Stop()
	<-p.ended
}

func (p *pod) endpoint() discovery.Endpoint {
	return discovery.Endpoint{Addr: p.addr, UID: p.uid, Pod: p.name, Ready: true, Serving: true}
}

func endpoints(pods ...*pod) []discovery.Endpoint {
	list := make([]discovery.Endpoint, len(pods))
	for i, p := range pods {
		list[i] = p.endpoint()
	}
	return list
}

type countingListener struct {
	net.Listener
	accepted *atomic.Int32
}

func (l countingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.accepted.Add(1)
	}
	return conn, err
}

var service = grpc.ServiceDesc{
	ServiceName: "quiz.Quiz",
	HandlerType: (*any)(nil),
	Methods:     []grpc.MethodDesc{{MethodName: "Who", Handler: who}},
	Streams:     []grpc.StreamDesc{{StreamName: "Talk", Handler: talk, ClientStreams: true, ServerStreams: true}},
}

//nolint:revive // the order of arguments is gRPC's
func who(srv any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
	p := srv.(*pod)
	if intercept != nil {
		return intercept(ctx, nil, nil, nil)
	}
	if err := decode(new(emptypb.Empty)); err != nil {
		return nil, err
	}
	p.served.Add(1)
	if p.entered != nil {
		p.entered()
		defer p.left()
	}
	p.host.Store(authority(ctx))
	<-time.After(p.delay)
	if p.stalls.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if p.code != codes.OK {
		return nil, status.Error(p.code, "as it is told")
	}
	name := metadata.Pairs("pod", p.name)
	if err := errors.Join(grpc.SetHeader(ctx, name), grpc.SetTrailer(ctx, name)); err != nil {
		return nil, err
	}
	return wrapperspb.String(p.name), nil
}

// talk answers each message with the pod's name.
func talk(srv any, stream grpc.ServerStream) error {
	if srv.(*pod).refuses.Load() {
		return status.Error(codes.Unavailable, "as it is told")
	}
	for {
		err := stream.RecvMsg(new(emptypb.Empty))
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.SendMsg(wrapperspb.String(srv.(*pod).name)); err != nil {
			return err
		}
	}
}

// A source is a discovery.Source that says what a test tells it to.
type source struct {
	mu        sync.Mutex
	snapshot  *discovery.Snapshot
	err       error
	receivers map[discovery.Receiver]bool
}

func newSource(endpoints ...discovery.Endpoint) *source {
	s := &source{receivers: make(map[discovery.Receiver]bool)}
	if endpoints != nil {
		s.snapshot = discovery.NewSnapshot(endpoints)
	}
	return s
}

func (s *source) Watch(ctx context.Context, _ discovery.Target, r discovery.Receiver) {
	s.mu.Lock()
	s.receivers[r] = true
	s.say(r)
	s.mu.Unlock()
	<-ctx.Done()
	s.mu.Lock()
	delete(s.receivers, r)
	s.mu.Unlock()
}

// say is called with mu held.
func (s *source) say(r discovery.Receiver) {
	if s.err != nil {
		r.Error(s.err)
	} else if s.snapshot != nil {
		r.Update(s.snapshot)
	}
}

func (s *source) set(endpoints ...discovery.Endpoint) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.snapshot, s.err = discovery.NewSnapshot(endpoints), nil
	for r := range s.receivers {
		s.say(r)
	}
}

func (s *source) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
	for r := range s.receivers {
		s.say(r)
	}
}

// dial connects to quiz, as a user would, but for the source.
func dial(t *testing.T, s discovery.Source, config balancer.Config, more ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	options := append(grpcbalancer.DialOptions(config),
		grpc.WithResolvers(resolver.NewBuilder("k8s", resolver.Config{Source: s})),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	return newClient(t, quiz, append(options, more...)...)
}

func newClient(t *testing.T, target string, options ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(target, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

var roundRobin = balancer.Config{Policy: balancer.RoundRobin}

// ask makes a request and returns the name of the pod that answered.
func ask(conn *grpc.ClientConn, timeout time.Duration, options ...grpc.CallOption) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	var answer wrapperspb.StringValue
	err := conn.Invoke(ctx, "/quiz.Quiz/Who", new(emptypb.Empty), &answer, options...)
	return answer.Value, err
}

// mustAsk asks n times and returns how often each pod answered.
func mustAsk(t *testing.T, conn *grpc.ClientConn, n int) map[string]int {
	t.Helper()
	answers := make(map[string]int)
	for range n {
		name, err := ask(conn, patience)
		if err != nil {
			t.Fatal(err)
		}
		answers[name]++
	}
	return answers
}

// askUntil asks until exactly these pods answer.
func askUntil(t *testing.T, conn *grpc.ClientConn, pods ...*pod) {
	t.Helper()
	// After a single late answer, adaptive may avoid a pod for longer than patience.
	within(t, 2*patience, fmt.Sprintf("exactly %d pods answer", len(pods)), func() bool {
		answers := make(map[string]int)
		for range 10 * len(pods) {
			name, err := ask(conn, patience)
			if err != nil {
				return false
			}
			answers[name]++
		}
		for _, p := range pods {
			if answers[p.name] == 0 {
				return false
			}
		}
		return len(answers) == len(pods)
	})
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	within(t, patience, what, is)
}

func within(t *testing.T, limit time.Duration, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !is(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it never came to be that %s", what)
		}
	}
}

// A load is requests from several goroutines until it is stopped.
type load struct {
	done   chan struct{}
	wg     sync.WaitGroup
	asked  atomic.Int32
	mu     sync.Mutex
	failed []error
}

func startLoad(conn *grpc.ClientConn, workers int) *load {
	l := &load{done: make(chan struct{})}
	for range workers {
		l.wg.Go(func() {
			pause := time.Tick(time.Millisecond)
			for {
				select {
				case <-l.done:
					return
				case <-pause:
				}
				l.asked.Add(1)
				if _, err := ask(conn, patience); err != nil {
					l.mu.Lock()
					l.failed = append(l.failed, err)
					l.mu.Unlock()
				}
			}
		})
	}
	return l
}

func (l *load) stop() []error {
	close(l.done)
	l.wg.Wait()
	return l.failed
}
