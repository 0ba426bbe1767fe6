package grpcbalancer_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/health"
)

// statusOf returns the status of the channel to a target.
func statusOf(target string) (s balancer.Status) {
	for _, s := range balancer.Statuses() {
		if s.Target == target {
			return s
		}
	}
	return s
}

// wantHealthy fails the test if a backend was ejected or has failures.
func wantHealthy(t *testing.T, failures uint64) {
	t.Helper()
	s := statusOf(quiz)
	var counted balancer.Outcomes
	for _, o := range s.Requests {
		for i := range o {
			counted[i] += o[i]
		}
	}
	if n := counted[health.Failure] + counted[health.Timeout] + counted[health.Unreachable]; n != failures {
		t.Errorf("%d failures are counted, want %d: %v", n, failures, counted)
	}
	for cause, n := range s.Counts.Ejections {
		if n > 0 {
			t.Errorf("%d ejections by %v", n, cause)
		}
	}
}

type brokenCompressor struct{}

func (brokenCompressor) Name() string { return "broken" }
func (brokenCompressor) Compress(io.Writer) (io.WriteCloser, error) {
	return nil, errors.New("no memory")
}

func (brokenCompressor) Decompress(io.Reader) (io.Reader, error) { return nil, errors.New("no memory") }

type expired struct{ code codes.Code }

func (e expired) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return nil, status.Error(e.code, "the token has expired")
}
func (expired) RequireTransportSecurity() bool { return false }

func TestWhatThisSideDoesWrongIsHeldAgainstNoPod(t *testing.T) {
	encoding.RegisterCompressor(brokenCompressor{})
	pods := []*pod{startPod(t, "a"), startPod(t, "b"), startPod(t, "c")}
	conn := dial(t, newSource(endpoints(pods...)...), roundRobin)
	askUntil(t, conn, pods...)
	for name, c := range map[string]struct {
		text    string
		options []grpc.CallOption
	}{
		"too long to be sent":     {strings.Repeat("x", 100), []grpc.CallOption{grpc.MaxCallSendMsgSize(10)}},
		"too long to be received": {"", []grpc.CallOption{grpc.MaxCallRecvMsgSize(1)}},
		"not to be encoded":       {"\xff", nil},
		"not to be compressed":    {"x", []grpc.CallOption{grpc.UseCompressor("broken")}},
		"no compressor":           {"x", []grpc.CallOption{grpc.UseCompressor("unheard of")}},
		"credentials":             {"x", []grpc.CallOption{grpc.PerRPCCredentials(expired{codes.Unavailable})}},
	} {
		for range 20 {
			if err := conn.Invoke(t.Context(), "/quiz.Quiz/Who", wrapperspb.String(c.text), new(wrapperspb.StringValue), c.options...); err == nil {
				t.Fatalf("%s: no error", name)
			}
			stream, err := conn.NewStream(t.Context(), &service.Streams[0], "/quiz.Quiz/Talk", c.options...)
			if err == nil {
				err = stream.SendMsg(wrapperspb.String(c.text))
			}
			if err == nil {
				err = stream.RecvMsg(new(wrapperspb.StringValue))
			}
			if err == nil {
				t.Fatalf("%s: no error of the stream", name)
			}
		}
	}
	wantHealthy(t, 0)
	if got := mustAsk(t, conn, 30); got["a"] != 10 || got["b"] != 10 {
		t.Errorf("afterwards: %v", got)
	}
}

func TestADeadlineInTheQueueOfAConnectionIsNoTimeout(t *testing.T) {
	a := startPodAt(t, "a", "127.0.0.1:0", []grpc.ServerOption{grpc.MaxConcurrentStreams(1)})
	conn := dial(t, newSource(endpoints(a)...), roundRobin)
	mustAsk(t, conn, 1)
	openStreams(t, conn, a, 1)
	for range 10 {
		_, err := ask(conn, 5*time.Millisecond)
		check(t, err, codes.DeadlineExceeded)
	}
	wantHealthy(t, 0)
}

func TestWhatServersRefuseGoesElsewhereForFree(t *testing.T) {
	for name, how := range map[string]func(frames, uint32){"REFUSED_STREAM": reset, "GOAWAY": goaway} {
		t.Run(name, func(t *testing.T) {
			pods := []*pod{refuser(t, "a", 1<<30, how), refuser(t, "b", 1<<30, how), refuser(t, "c", 1<<30, how), startPod(t, "good")}
			conn := dial(t, newSource(endpoints(pods...)...), roundRobin)
			for range 100 {
				if name, err := ask(conn, patience); err != nil || name != "good" {
					t.Fatal(name, err)
				}
			}
			wantHealthy(t, 0)
		})
	}
}

func TestOneThatRefusesOnceIsAskedAgainIfThereIsNoOther(t *testing.T) {
	conn := dial(t, newSource(endpoints(refuser(t, "a", 10, reset))...), roundRobin)
	if name, err := ask(conn, patience); err != nil || name != "a" {
		t.Error(name, err)
	}
	wantHealthy(t, 0)
}

func TestOneThatRefusesForEverFailsTheCall(t *testing.T) {
	conn := dial(t, newSource(endpoints(refuser(t, "a", 1<<30, reset))...), roundRobin)
	_, err := ask(conn, patience)
	check(t, err, codes.Unavailable, "REFUSED_STREAM")
	wantHealthy(t, 0)
}

func TestALostConnectionIsOneFailureForAllThatWasOnIt(t *testing.T) {
	a, b := startPod(t, "a"), startPod(t, "b")
	conn := dial(t, newSource(endpoints(a, b)...), roundRobin)
	askUntil(t, conn, a, b)
	const n = 20
	streams := make([]grpc.ClientStream, 0, n)
	var onA []grpc.ClientStream
	for len(streams) < n {
		stream, err := conn.NewStream(t.Context(), &service.Streams[0], "/quiz.Quiz/Talk")
		if err != nil {
			t.Fatal(err)
		}
		if talkTo(t, stream) == "a" {
			onA = append(onA, stream)
		}
		streams = append(streams, stream)
	}
	a.kill()
	for i, stream := range onA {
		if i%2 == 0 { // some learn of it when they send
			eventually(t, "it cannot be sent any more", func() bool { return stream.SendMsg(new(emptypb.Empty)) != nil })
		}
	}
	broken := 0
	for _, stream := range streams {
		_ = stream.CloseSend()
		if err := drainStream(stream); status.Code(err) == codes.Unavailable {
			broken++
		}
	}
	if broken == 0 || broken != len(onA) {
		t.Fatalf("%d streams broke, of %d of that pod", broken, len(onA))
	}
	wantHealthy(t, uint64(broken))
	again := startPodAt(t, "again", a.addr.String(), nil)
	eventually(t, "it is asked again", func() bool { _, err := ask(conn, patience); return err == nil && again.served.Load() > 0 })
	wantHealthy(t, uint64(broken))
}

// The age of its connections is a setting of the server.
func TestAConnectionWhoseEndWasAnnouncedIsHeldAgainstNobody(t *testing.T) {
	aged := []grpc.ServerOption{grpc.KeepaliveParams(keepalive.ServerParameters{
		MaxConnectionAge: 20 * time.Millisecond, MaxConnectionAgeGrace: 20 * time.Millisecond,
	})}
	a, b := startPodAt(t, "a", "127.0.0.1:0", aged), startPodAt(t, "b", "127.0.0.1:0", aged)
	conn := dial(t, newSource(endpoints(a, b)...), roundRobin)
	var streams sync.WaitGroup
	for range 10 {
		streams.Go(func() {
			for broken := 0; broken < 2; {
				stream, err := conn.NewStream(t.Context(), &service.Streams[0], "/quiz.Quiz/Talk")
				for err == nil {
					if err = stream.RecvMsg(new(wrapperspb.StringValue)); status.Code(err) == codes.Unavailable {
						broken++
					}
				}
			}
		})
	}
	streams.Wait()
	for cause, n := range statusOf(quiz).Counts.Ejections {
		if n > 0 {
			t.Errorf("%d ejections by %v", n, cause)
		}
	}
}

// drainStream receives until the stream has ended.
func drainStream(stream grpc.ClientStream) (err error) {
	for err == nil {
		err = stream.RecvMsg(new(wrapperspb.StringValue))
	}
	return err
}

func TestAStreamIsCountedAtItsEnd(t *testing.T) {
	a := startPod(t, "a")
	conn := dial(t, newSource(endpoints(a)...), roundRobin)
	mustAsk(t, conn, 1)
	counted := func() balancer.Outcomes { return statusOf(quiz).Requests[""] }
	before := counted()
	for _, c := range []struct {
		name string
		end  func(stream grpc.ClientStream, cancel func())
		want health.Outcome
	}{
		{"the deadline", func(grpc.ClientStream, func()) {}, health.Success},
		{"its caller", func(_ grpc.ClientStream, cancel func()) { cancel() }, health.Success},
		{"the server", func(s grpc.ClientStream, _ func()) { _ = s.CloseSend() }, health.Success},
		{"the connection", func(grpc.ClientStream, func()) { a.kill() }, health.Failure},
	} {
		limit := patience
		if c.name == "the deadline" {
			limit = 100 * time.Millisecond
		}
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		stream, err := conn.NewStream(ctx, &service.Streams[0], "/quiz.Quiz/Talk")
		if err != nil {
			t.Fatal(err)
		}
		talkTo(t, stream)
		if got := counted(); got != before {
			t.Errorf("%s: counted while it is open: %v, before %v", c.name, got, before)
		}
		c.end(stream, cancel)
		_ = drainStream(stream)
		cancel()
		before[c.want]++
		eventually(t, "it is counted", func() bool { return counted().Sum() == before.Sum() })
		if got := counted(); got != before {
			t.Errorf("%s ended it: %v, want %v", c.name, got, before)
		}
	}
}
