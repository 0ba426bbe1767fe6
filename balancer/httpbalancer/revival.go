package httpbalancer

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/sidestep-lb/sidestep/health"
)

// A revival tries to connect to a backend that cannot be reached until it can,
// so that no request has to. While it waits there is a timer and no goroutine.
type revival struct {
	conn *backendConn // read-only

	mu      sync.Mutex
	timer   *time.Timer // of the next try; nil if none is due or running; guarded by mu
	attempt int         // guarded by mu
	stopped bool        // guarded by mu
}

// start begins to try if the backend cannot be reached.
func (r *revival) start() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.timer == nil {
		r.schedule(0)
	}
}

// stop lets a try that is running finish. There is none after it.
func (r *revival) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = true
	if r.timer != nil {
		r.timer.Stop()
	}
}

// schedule is called with mu held.
func (r *revival) schedule(attempt int) {
	r.timer = nil
	if b := r.conn.backend; r.stopped || b.Reachable() || b.Left() {
		return
	}
	r.attempt = attempt
	r.timer = time.AfterFunc(health.RetryDelay(attempt, rand.Uint64), r.try)
}

func (r *revival) try() {
	if !r.conn.begin() {
		return
	}
	defer r.conn.pool.conns.Done()
	if !r.conn.backend.Reachable() {
		if r.conn.reach(r.conn.lifetime()) == nil {
			r.conn.backend.Observe(health.Success)
		} else {
			r.conn.pool.reportUnreachable()
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.schedule(r.attempt + 1)
}
