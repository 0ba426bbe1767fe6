package grpcbalancer

import (
	gbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sidestep-lb/sidestep/balancer/adapter"
)

// A call is a pick that waits for its end. Calls are used again, since gRPC
// wants a function for the end of each, which would cost an allocation.
type call struct {
	pool *pool                    // read-only
	done func(gbalancer.DoneInfo) // finish; read-only

	pick adapter.Pick
	link *link
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
	pick, of, l, number := c.pick, c.of, c.link, c.number
	c.pick, c.link, c.of = adapter.Pick{}, nil, nil
	c.pool.calls.Put(c)
	l.sub.leave()
	if of == nil {
		l.end(pick, nil, endingOf(&info), &info, false)
		return
	}
	if info.Err == nil && info.BytesReceived && isTrailersOnly(info.Trailer) {
		// A unary call that succeeds has headers and a message. The server ended
		// this one before it was sent completely, and gRPC says no more of that.
		of.held.Store(&heldAttempt{link: l, pick: pick, info: info, number: number})
		return
	}
	of.endAttempt(l, pick, number, &info, false)
}

// endAttempt takes note of the end of an attempt.
func (c *callContext) endAttempt(l *link, pick adapter.Pick, number int, info *gbalancer.DoneInfo, heard bool) {
	e := endingOf(info)
	if e == neverSent {
		adapter.UndoAttempt(c.trace, number)
	} else {
		c.history.ended(e, info)
		adapter.EndAttempt(c.trace, number, 0, info.Err)
	}
	if c.overtaken.Load() && status.Code(info.Err) == codes.Canceled {
		pick.Done(adapter.Result{CensoredLatency: true})
		return
	}
	l.end(pick, c, e, info, heard)
}

// A heldAttempt is one that has ended, and how only its call can tell: gRPC ends
// an attempt without an error when a message could not be sent any more, and
// hands the status to whoever receives.
type heldAttempt struct {
	link   *link
	pick   adapter.Pick
	info   gbalancer.DoneInfo
	number int
	heard  bool
}

// release ends the attempt that is held, if there is one, with the error that the
// call had.
func (c *callContext) release(err error) {
	if c.held.Load() == nil {
		return
	}
	if a := c.held.Swap(nil); a != nil {
		a.info.Err = err
		c.endAttempt(a.link, a.pick, a.number, &a.info, a.heard)
	}
}

// errTriedAgain stands for the status of an attempt after which gRPC made another
// one, by the retryPolicy.
var errTriedAgain = status.Error(codes.Unavailable, "gRPC has tried again")
