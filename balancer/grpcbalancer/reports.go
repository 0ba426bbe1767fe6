package grpcbalancer

import (
	"context"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc"
	gbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
)

// Servers report their load out of band over a stream of their connection, for
// as long as that is up (gRFC A51). gRPC's own package orca would do the same,
// and link the whole of xDS's messages.

const reportMethod = "/xds.service.orca.v3.OpenRcaService/StreamCoreMetrics"

// watchReports asks the server for reports, if the config wants them. It is
// called when the SubConn has become ready. gRPC closes the producer with the
// connection.
func (s *subConn) watchReports() {
	if p := s.conn.pool; p.reports && p.reportPeriod > 0 && !s.spare {
		s.sub.GetOrBuildProducer(s)
	}
}

// Build implements gbalancer.ProducerBuilder.
func (s *subConn) Build(connection any) (gbalancer.Producer, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.readReports(ctx, connection.(grpc.ClientConnInterface))
	}()
	return nil, func() {
		cancel()
		<-ended
	}
}

const (
	minReportDelay = time.Second
	maxReportDelay = time.Minute
)

// readReports reads reports until ctx ends, or the server says that it has none.
func (s *subConn) readReports(ctx context.Context, conn grpc.ClientConnInterface) {
	for delay := minReportDelay; ; delay = min(2*delay, maxReportDelay) {
		some, err := s.readStream(ctx, conn)
		switch {
		case status.Code(err) == codes.Unimplemented:
			return
		case some:
			delay = minReportDelay
		}
		select {
		case <-time.After(delay/2 + rand.N(delay/2)):
		case <-ctx.Done():
			return
		}
	}
}

// readStream reads one stream to its end. It reports whether there was a report.
func (s *subConn) readStream(ctx context.Context, conn grpc.ClientConnInterface) (some bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, reportMethod, grpc.ForceCodecV2(bytesCodec{}))
	if err != nil {
		return false, err
	}
	if err := stream.SendMsg(reportRequest(s.conn.pool.reportPeriod)); err != nil {
		return false, err
	}
	if err := stream.CloseSend(); err != nil {
		return false, err
	}
	for {
		var message []byte
		if err := stream.RecvMsg(&message); err != nil {
			return some, err
		}
		s.conn.backend.Report(parseReport(message))
		some = true
	}
}

// reportRequest is an xds.service.orca.v3.OrcaLoadReportRequest.
func reportRequest(period time.Duration) []byte {
	var interval []byte // a google.protobuf.Duration
	interval = protowire.AppendTag(interval, 1, protowire.VarintType)
	interval = protowire.AppendVarint(interval, uint64(period/time.Second))
	interval = protowire.AppendTag(interval, 2, protowire.VarintType)
	interval = protowire.AppendVarint(interval, uint64(period%time.Second))
	return protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), interval)
}

// bytesCodec hands on messages as they are on the wire.
type bytesCodec struct{}

// Name implements encoding.CodecV2: to the server it is like any other.
func (bytesCodec) Name() string { return "proto" }

// Marshal implements encoding.CodecV2.
func (bytesCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}

// Unmarshal implements encoding.CodecV2.
func (bytesCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}
