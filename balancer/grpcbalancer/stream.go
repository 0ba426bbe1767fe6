package grpcbalancer

import (
	"context"
	"sync"

	"google.golang.org/grpc"
	gbalancer "google.golang.org/grpc/balancer"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/health"
)

// A stream is answered with its first message, which a picker does not hear of.
// So its ClientStream is watched, and tells the attempt that is under way.

// answers hands the first message of a stream to its attempt.
type answers struct {
	mu      sync.Mutex
	current *attempt // the latest one; guarded by mu
}

// An attempt is a pick that a stream goes on with.
type attempt struct {
	pool *pool         // read-only
	sub  *subConn      // read-only
	pick balancer.Pick // guarded by the answers' mu
	over bool          // guarded by the answers' mu
}

// stream returns the result of a pick for a stream.
func (c *callContext) stream(s *subConn, picked balancer.Pick, why balancer.Reason) gbalancer.PickResult {
	number := c.trace.Begin(picked.Backend(), why)
	a := &attempt{pool: s.conn.pool, sub: s, pick: picked}
	c.answers.mu.Lock()
	c.answers.current = a
	c.answers.mu.Unlock()
	return gbalancer.PickResult{SubConn: s.sub, Done: func(info gbalancer.DoneInfo) {
		c.answers.mu.Lock()
		a.over = true
		pick := a.pick
		c.answers.mu.Unlock()
		a.sub.leave()
		c.ended(number, &info)
		a.pool.finish(pick, &info)
	}}
}

// answered is called when the stream has its first message.
func (a *answers) answered() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.current != nil && !a.current.over {
		a.current.pick.Answered(balancer.Result{Outcome: health.Success})
	}
}

// A watchedStream is a stream that has not had a message yet, or has.
type watchedStream struct {
	grpc.ClientStream
	call   *callContext
	traced func(context.Context, *balancer.Trace) // or nil
	heard  bool                                   // of a message, or of the end; owned by the caller of RecvMsg
}

// RecvMsg implements grpc.ClientStream.
func (s *watchedStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if s.heard {
		return err
	}
	s.heard = true
	if err == nil {
		s.call.answers.answered()
	}
	if s.traced != nil {
		s.traced(s.call.Context, s.call.trace)
	}
	return err
}
