package grpcbalancer

import (
	"strconv"
	"time"

	gbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/health"
)

// A call is a pick that waits for its end. Calls are used again, since gRPC
// wants a function for the end of each, which would cost an allocation.
type call struct {
	pool *pool                    // read-only
	done func(gbalancer.DoneInfo) // finish; read-only

	pick balancer.Pick
	sub  *subConn
	of   *callContext // may be nil

	number int // of the attempt in the trace of the call
}

func (p *pool) newCall() any {
	c := &call{pool: p}
	c.done = c.finish
	return c
}

// finish is called by gRPC once.
func (c *call) finish(info gbalancer.DoneInfo) {
	pick, of := c.pick, c.of
	c.sub.leave()
	if of != nil {
		of.ended(c.number, &info)
	}
	c.pick, c.sub, c.of = balancer.Pick{}, nil, nil
	c.pool.calls.Put(c)
	if of != nil && of.overtaken.Load() && status.Code(info.Err) == codes.Canceled {
		pick.Done(balancer.Result{Overtaken: true})
		return
	}
	c.pool.finish(pick, &info)
}

// ended takes note of the end of an attempt.
func (c *callContext) ended(number int, info *gbalancer.DoneInfo) {
	switch {
	case neverSent(info):
		c.trace.Undo(number)
		return
	case info.Err != nil:
		c.history.failed(info)
	}
	c.trace.End(number, 0, info.Err)
}

// neverSent reports whether a pick never became a request.
func neverSent(info *gbalancer.DoneInfo) bool { return info.Err == nil && !info.BytesReceived }

// finish ends a pick.
func (p *pool) finish(pick balancer.Pick, info *gbalancer.DoneInfo) {
	if neverSent(info) {
		pick.Undo()
		return
	}
	if p.reports {
		pick.Backend().Report(reportOf(info.Trailer))
	}
	r, answer := resultOf(info)
	if answer && r.Outcome == health.Neutral {
		pick.Answered(r)
	}
	pick.Done(r)
}

// resultOf says what the end of an attempt means for its backend, and whether
// it is an answer. Statuses that say that the request was wrong are neutral.
func resultOf(info *gbalancer.DoneInfo) (_ balancer.Result, answer bool) {
	if info.Err == nil {
		return balancer.Result{Outcome: health.Success}, true
	}
	failed := balancer.Result{Outcome: health.Failure, RetryAfter: pushback(info.Trailer)}
	switch status.Code(info.Err) {
	case codes.Canceled:
		return balancer.Result{}, false
	case codes.DeadlineExceeded:
		return balancer.Result{Outcome: health.Timeout}, false
	case codes.Unavailable:
		if !info.BytesSent { // the connection was closing, and gRPC sends the request elsewhere
			return balancer.Result{}, false
		}
		return failed, true
	case codes.ResourceExhausted, codes.Internal, codes.Unknown, codes.DataLoss:
		return failed, true
	default:
		return balancer.Result{}, info.BytesReceived
	}
}

// pushback is how long the server asked to be spared (gRFC A6).
func pushback(trailer metadata.MD) time.Duration {
	values := trailer.Get("grpc-retry-pushback-ms")
	if len(values) != 1 {
		return 0
	}
	ms, err := strconv.ParseUint(values[0], 10, 31)
	if err != nil {
		return 0
	}
	return time.Duration(ms) * time.Millisecond
}
