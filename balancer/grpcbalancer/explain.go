package grpcbalancer

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sidestep-lb/sidestep/resolver"
)

func explainUnary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	return explain(cc, invoke(ctx, method, req, reply, cc, opts...))
}

func explainStream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	stream, err := open(ctx, desc, cc, method, opts...)
	return stream, explain(cc, err)
}

// explain adds to the error of a request whose deadline passed what the channel
// was waiting for, if it was waiting for discovery. Code and details stay.
func explain(cc *grpc.ClientConn, err error) error {
	if err == nil || status.Code(err) != codes.DeadlineExceeded {
		return err
	}
	pending := resolver.Pending(cc.CanonicalTarget())
	if pending == nil {
		return err
	}
	s := status.Convert(err).Proto() // a copy
	s.Message += ": " + pending.Error()
	return status.ErrorProto(s)
}
