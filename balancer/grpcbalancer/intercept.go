package grpcbalancer

import (
	"context"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sidestep-lb/sidestep/resolver"
)

func (ch *channel) unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if err := ch.check(cc); err != nil {
		return err
	}
	c := ch.newCall(ctx, cc, method, false, opts)
	if ch.budget != nil {
		ch.budget.Deposit()
	}
	timer := ch.hedger.timer(method, reply)
	if c.member != nil {
		timer = nil
	}
	var err error
	if timer == nil && ch.retry.TryTimeout == 0 && !hasOnFinish(opts) { // usually, and then nothing needs preparing
		err = invoke(c, method, req, reply, cc, opts...)
		c.release(err)
		if err != nil {
			r := newRPC(method, req, reply, cc, invoke, opts)
			err = ch.again(c, r, err, func(int) error { return r.send(c) })
		}
	} else {
		r := newRPC(method, req, reply, cc, invoke, opts)
		send := func(n int) error {
			if timer != nil {
				return ch.hedger.call(c.sibling(), r, timer)
			}
			return ch.try(c, r, n)
		}
		err = ch.again(c, r, send(1), send)
		r.end(err)
	}
	if ch.traced != nil {
		ch.traced(ctx, c.trace)
	}
	return c.failed(explain(cc, err))
}

func (ch *channel) stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if err := ch.check(cc); err != nil {
		return nil, err
	}
	c := ch.newCall(ctx, cc, method, true, opts)
	if ch.budget != nil {
		ch.budget.Deposit()
	}
	if ch.traced != nil {
		opts = append(slices.Clip(opts), grpc.OnFinish(func(error) { c.tell() })) // if nobody receives
	}
	stream, err := open(c, desc, cc, method, opts...)
	if err != nil {
		c.tell()
		return nil, c.failed(explain(cc, err))
	}
	return &watchedStream{ClientStream: stream, call: c}, nil
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
