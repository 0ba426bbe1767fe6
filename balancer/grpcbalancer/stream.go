package grpcbalancer

import (
	"context"
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc"
	gbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/status"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/adapter"
	"github.com/sidestep-lb/sidestep/health"
)

// A stream is answered with its first message, which a picker does not hear of.
// So its ClientStream is watched, and tells the attempt that is under way.

// answers hands the first message of a stream to its attempt.
type answers struct {
	mu      sync.Mutex
	first   attempt  // usually the only one
	current *attempt // the latest one; guarded by mu
}

// An attempt is a pick that a stream goes on with.
type attempt struct {
	call   *callContext // read-only, as are link and number
	link   *link        //
	number int          // in the trace
	pick   adapter.Pick // guarded by the answers' mu
	heard  bool         // it has had a message; guarded by the answers' mu
	over   bool         // guarded by the answers' mu
}

// newAttempt returns the result of a pick for a stream.
func (c *callContext) newAttempt(l *link, picked adapter.Pick, why balancer.Reason) gbalancer.PickResult {
	number := adapter.BeginAttempt(c.trace, picked.Backend(), why)
	c.stream.mu.Lock()
	a := &c.stream.first
	if a.call != nil {
		a = new(attempt)
	}
	*a = attempt{call: c, link: l, number: number, pick: picked}
	c.stream.current = a
	c.stream.mu.Unlock()
	return gbalancer.PickResult{SubConn: l.sub.sub, Done: a.finish}
}

// finish is called by gRPC once.
func (a *attempt) finish(info gbalancer.DoneInfo) {
	c := a.call
	c.stream.mu.Lock()
	a.over = true
	pick, heard := a.pick, a.heard
	hold := info.Err == nil && info.BytesReceived && c.sending.Load() > 0
	c.stream.mu.Unlock()
	a.link.sub.leave()
	if hold {
		c.held.Store(&heldAttempt{link: a.link, pick: pick, info: info, number: a.number, heard: heard})
		return
	}
	c.endAttempt(a.link, pick, a.number, &info, heard)
}

// answered is called when the stream has its first message.
func (a *answers) answered() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.current != nil && !a.current.over {
		a.current.heard = true
		a.current.pick.Answered(adapter.Result{Outcome: health.Success})
	}
}

// A watchedStream is a stream whose messages are noticed.
type watchedStream struct {
	grpc.ClientStream
	call  *callContext
	heard bool // of a message, or of the end; owned by the caller of RecvMsg
}

// RecvMsg implements grpc.ClientStream.
func (s *watchedStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if err != nil {
		s.call.release(withoutEOF(err))
	}
	if withoutEOF(err) != nil {
		err = s.call.failed(err)
	}
	if s.heard {
		return err
	}
	s.heard = true
	if err == nil {
		s.call.stream.answered()
	}
	s.call.tell()
	return err
}

// SendMsg implements grpc.ClientStream.
func (s *watchedStream) SendMsg(m any) error {
	s.call.sending.Add(1)
	err := s.ClientStream.SendMsg(m)
	s.call.sending.Add(-1)
	if errors.Is(err, io.EOF) && s.call.held.Load() != nil {
		// RecvMsg will say how it ended. A caller that does not care has to end the context.
		context.AfterFunc(s.call.Context, func() { s.call.release(status.FromContextError(s.call.Context.Err()).Err()) })
	}
	return err
}

func withoutEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// tell tells Config.Traced of the call, once.
func (c *callContext) tell() {
	if c.channel.traced != nil && !c.told.Swap(true) {
		c.channel.traced(c.Context, c.trace)
	}
}
