package grpcbalancer_test

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	gbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/grpcbalancer"
	"github.com/sidestep-lb/sidestep/resolver"
)

// A reporter is a connection to a server that reports its load out of band.
type reporter struct {
	grpc.ClientConnInterface
	report  []byte
	period  time.Duration
	err     error // of the stream, if set
	streams int
}

func (r *reporter) NewStream(ctx context.Context, _ *grpc.StreamDesc, _ string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	r.streams++
	return &reportStream{reporter: r, ctx: ctx}, nil
}

type reportStream struct {
	grpc.ClientStream
	*reporter
	ctx context.Context
}

func (s *reportStream) SendMsg(any) error { return nil }
func (s *reportStream) CloseSend() error  { return nil }

func (s *reportStream) RecvMsg(m any) error {
	if s.err != nil {
		return s.err
	}
	select {
	case <-time.After(s.period):
		*m.(*[]byte) = s.report
		return nil
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

// GetOrBuildProducer implements gbalancer.SubConn.
func (s *subConn) GetOrBuildProducer(b gbalancer.ProducerBuilder) (gbalancer.Producer, func()) {
	s.built++
	producer, end := b.Build(s.reporter)
	s.ends = append(s.ends, end)
	return producer, func() {}
}

// lose is the loss of the connection, with which gRPC ends its producers.
func (s *subConn) lose() {
	for _, end := range s.ends {
		end()
	}
	s.ends = nil
	s.becomes(connectivity.Idle, nil)
}

func share(t *testing.T, cc *channel, of *subConn) float64 {
	t.Helper()
	n := 0
	for range 3000 {
		_, s := cc.heard()
		result, err := s.Picker.Pick(gbalancer.PickInfo{})
		if err != nil {
			t.Fatal(err)
		}
		if result.SubConn == gbalancer.SubConn(of) {
			n++
		}
		result.Done(gbalancer.DoneInfo{BytesSent: true, BytesReceived: true})
	}
	return float64(n) / 3000
}

func TestWeightedGoesByTheLoadReportsOutOfBand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, cc := build(t, 2, `{"policy":"weighted","reportPeriod":"1s"}`)
		defer b.Close()
		for i, sc := range cc.made() {
			sc.reporter = &reporter{period: time.Second, report: loadReport(map[protowire.Number]float64{1: 0.25 * float64(i+1), 6: 100})}
			sc.becomes(connectivity.Ready, nil)
		}
		one := cc.made()[0]
		pass(5 * time.Second)
		share(t, cc, one) // they have answered once
		if got := share(t, cc, one); math.Abs(got-0.5) > 0.01 {
			t.Errorf("a share of %.3f while the reports are new, want 0.5", got)
		}
		pass(10 * time.Second)
		if got := share(t, cc, one); math.Abs(got-2.0/3) > 0.01 {
			t.Errorf("the one with twice the capacity has a share of %.3f, want 0.667", got)
		}
		one.lose()
		one.becomes(connectivity.Ready, nil)
		pass(5 * time.Second)
		if got := share(t, cc, one); math.Abs(got-0.5) > 0.01 || one.built != 2 {
			t.Errorf("after its connection was lost: asked %d times, a share of %.3f; want 0.5 until its reports count again", one.built, got)
		}
		for _, sc := range cc.made() {
			sc.lose()
		}
		b.Close()
		pass(time.Second)
	})
}

func TestAServerWithoutReportsIsAskedOnceAndOneThatFailsNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, cc := build(t, 2, `{"policy":"weighted","reportPeriod":"1s"}`)
		defer b.Close()
		without, fails := cc.made()[0], cc.made()[1]
		without.reporter = &reporter{err: status.Error(codes.Unimplemented, "unknown service")}
		fails.reporter = &reporter{err: status.Error(codes.Unavailable, "not now")}
		for _, sc := range cc.made() {
			sc.becomes(connectivity.Ready, nil)
		}
		pass(10 * time.Minute)
		if n := without.reporter.streams; n != 1 {
			t.Errorf("a server without the service was asked %d times", n)
		}
		if n := fails.reporter.streams; n < 10 || n > 30 {
			t.Errorf("in ten minutes, a server that fails was asked %d times", n)
		}
		for _, sc := range cc.made() {
			sc.lose()
		}
		b.Close()
		pass(time.Second)
	})
}

func TestNobodyIsAskedForReportsThatAreNotWanted(t *testing.T) {
	for _, config := range []string{`{"policy":"weighted"}`, `{"policy":"adaptive","reportPeriod":"1s"}`} {
		_, cc := build(t, 1, config)
		cc.made()[0].becomes(connectivity.Ready, nil)
		if n := cc.made()[0].built; n != 0 {
			t.Errorf("%s: asked %d times", config, n)
		}
	}
}

// What is written by hand is what a server with generated code reads.
func TestReportsAreAskedForOnTheWireAsProtobufWouldWriteIt(t *testing.T) {
	asked, ended := make(chan time.Duration, 1), make(chan struct{})
	report := dynamicpb.NewMessage(orca(t))
	handler := func(_ any, stream grpc.ServerStream) error {
		defer close(ended)
		var request emptypb.Empty // its one field stays as it came
		if err := stream.RecvMsg(&request); err != nil {
			return err
		}
		raw := request.ProtoReflect().GetUnknown()
		_, _, n := protowire.ConsumeTag(raw)
		body, _ := protowire.ConsumeBytes(raw[n:])
		var interval durationpb.Duration
		if err := proto.Unmarshal(body, &interval); err != nil {
			return err
		}
		asked <- interval.AsDuration()
		for range 3 {
			if err := stream.SendMsg(report); err != nil {
				return err
			}
		}
		<-stream.Context().Done()
		return nil
	}
	a := startPod(t, "a", func(p *pod) {
		p.server.RegisterService(&grpc.ServiceDesc{
			ServiceName: "xds.service.orca.v3.OpenRcaService",
			HandlerType: (*any)(nil),
			Streams:     []grpc.StreamDesc{{StreamName: "StreamCoreMetrics", Handler: handler, ServerStreams: true}},
		}, nil)
	})
	config := grpcbalancer.Config{Balancer: balancer.Config{Policy: balancer.Weighted}, ReportPeriod: 1500 * time.Millisecond}
	conn := newClient(t, quiz, append(config.DialOptions(),
		grpc.WithResolvers(resolver.NewBuilder("k8s", resolver.Config{Source: newSource(endpoints(a)...)})),
		grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	mustAsk(t, conn, 1)
	select {
	case period := <-asked:
		if period != config.ReportPeriod {
			t.Errorf("asked for a report each %v", period)
		}
	case <-time.After(patience):
		t.Fatal("the server was not asked")
	}
	conn.Close()
	select {
	case <-ended:
	case <-time.After(patience):
		t.Error("the stream outlives the channel")
	}
}
