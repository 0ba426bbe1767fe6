package grpcbalancer

import (
	"slices"

	"google.golang.org/grpc"
)

// An rpc is a unary call as an interceptor gets it.
type rpc struct {
	method   string
	req      any
	reply    any
	cc       *grpc.ClientConn
	invoke   grpc.UnaryInvoker
	opts     []grpc.CallOption // without those of grpc.OnFinish
	finished []func(error)     // those, which are to hear of the outcome of the call, not of each attempt
}

func newRPC(method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts []grpc.CallOption) *rpc {
	r := &rpc{method: method, req: req, reply: reply, cc: cc, invoke: invoke, opts: opts}
	if hasOnFinish(opts) {
		r.opts = make([]grpc.CallOption, 0, len(opts))
		for _, o := range opts {
			if f, ok := o.(grpc.OnFinishCallOption); ok {
				r.finished = append(r.finished, f.OnFinish)
			} else {
				r.opts = append(r.opts, o)
			}
		}
	}
	return r
}

func hasOnFinish(opts []grpc.CallOption) bool {
	return slices.ContainsFunc(opts, func(o grpc.CallOption) bool {
		_, ok := o.(grpc.OnFinishCallOption)
		return ok
	})
}

// send makes one attempt.
func (r *rpc) send(c *callContext) error {
	err := r.invoke(c, r.method, r.req, r.reply, r.cc, r.opts...)
	c.release(err)
	return err
}

// end tells those who wanted to be told.
func (r *rpc) end(err error) {
	for _, f := range r.finished {
		f(err)
	}
}
