package balancer

import (
	"sync/atomic"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/health"
)

// A Backend is an endpoint plus its live state. It stays the same one, with its
// requests in flight and its health, for as long as updates name the endpoint.
type Backend struct {
	// Set at the start and read-only.
	balancer *Balancer
	rank     uint64 // its place in this client's order of the backends
	conn     Conn   // set before the first pick

	endpoint atomic.Pointer[discovery.Endpoint]
	inFlight atomic.Int64
	reach    health.Reachability
	left     atomic.Bool // no update names it any more
}

// A Conn is what an adapter keeps for a backend: its connections.
type Conn interface {
	// Drain is called once, when the backend has left. The backend gets no new
	// request; those in flight should finish, then the connections close.
	Drain()
}

// Endpoint returns what discovery said last about the backend.
func (b *Backend) Endpoint() *discovery.Endpoint { return b.endpoint.Load() }

// Conn returns what the adapter attached to the backend.
func (b *Backend) Conn() Conn { return b.conn }

// InFlight returns the number of requests that the backend has been picked for
// and that are not done.
func (b *Backend) InFlight() int64 { return b.inFlight.Load() }

// Fit reports whether the backend is in rotation.
func (b *Backend) Fit() bool { return b.reach.OK() && !b.left.Load() }

// Left reports whether the backend's endpoint is gone from the target.
func (b *Backend) Left() bool { return b.left.Load() }

// Done ends a request that the backend was picked for. It is to be called
// exactly once for each pick.
func (b *Backend) Done(o health.Outcome) {
	b.inFlight.Add(-1)
	b.Observe(o)
}

// Observe tells the backend's health what an adapter learned without a
// request: that a connection was made or lost.
func (b *Backend) Observe(o health.Outcome) {
	if b.reach.Observe(o) && !b.left.Load() {
		b.balancer.fitnessChanged(b)
	}
}

func (b *Backend) start() *Backend {
	b.inFlight.Add(1)
	return b
}
