package grpcbalancer

import (
	"sync/atomic"

	gbalancer "google.golang.org/grpc/balancer"

	"github.com/sidestep-lb/sidestep/balancer/adapter"
	"github.com/sidestep-lb/sidestep/health"
)

// A link is one TCP connection of a subConn, from the moment that it is ready
// until it is lost.
type link struct {
	sub    *subConn             // read-only
	picked gbalancer.PickResult // of a plain pick of the backend; read-only

	lost atomic.Bool // its loss has been held against the backend
}

// newLink is called when the connection is ready.
func (s *subConn) newLink() *link {
	l := &link{sub: s}
	l.picked = gbalancer.PickResult{SubConn: s.sub, Done: l.finish}
	return l
}

// finish ends a plain pick.
func (l *link) finish(info gbalancer.DoneInfo) {
	l.sub.leave()
	l.end(l.sub.conn.backend.Picked(), nil, endingOf(&info), &info, false)
}

// end tells the Balancer how an attempt ended. The call may be nil; heard says
// that the attempt is of a stream that has had a message.
//
// However many attempts are lost with a connection, that is one failure: whether
// the backend is there says the next attempt to connect.
func (l *link) end(pick adapter.Pick, of *callContext, e ending, info *gbalancer.DoneInfo, heard bool) {
	if e == neverSent {
		pick.Undo()
		return
	}
	if l.sub.conn.pool.reports {
		pick.Backend().Report(reportOf(info.Trailer))
	}
	r, answer := of.resultOf(e, info, heard)
	switch {
	case e == lost && l.lost.Swap(true):
		r.SameEvent = true
	case answer && r.Outcome == health.Neutral:
		pick.Answered(r)
	case answer && r.Outcome == health.Success && of != nil && of.streaming && !heard:
		pick.Answered(adapter.Result{}) // how long a stream was silent is no latency
	}
	pick.Done(r)
}
