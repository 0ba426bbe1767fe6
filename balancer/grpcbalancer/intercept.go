package grpcbalancer

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/resolver"
)

// interceptors are those of a channel.
type interceptors struct {
	hedger *hedger                                // nil without hedging
	traced func(context.Context, *balancer.Trace) // or nil
}

func (i *interceptors) newCall(ctx context.Context, streaming bool, opts []grpc.CallOption) *callContext {
	call := newCall(ctx, streaming, opts)
	if call.trace == nil && i.traced != nil {
		call.trace = new(balancer.Trace)
	}
	return call
}

func (i *interceptors) unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	call := i.newCall(ctx, false, opts)
	var err error
	if timer := i.hedger.timer(method, reply); timer != nil && call.member == nil {
		err = i.hedger.call(call, &rpc{method: method, req: req, reply: reply, cc: cc, invoke: invoke, opts: opts}, timer)
	} else {
		err = invoke(call, method, req, reply, cc, opts...)
	}
	if i.traced != nil {
		i.traced(ctx, call.trace)
	}
	return explain(cc, err)
}

func (i *interceptors) stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	call := i.newCall(ctx, true, opts)
	stream, err := open(call, desc, cc, method, opts...)
	if err != nil {
		return nil, explain(cc, err)
	}
	return &watchedStream{ClientStream: stream, call: call, traced: i.traced}, nil
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
