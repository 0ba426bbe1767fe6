package httpbalancer

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/sidestep-lb/sidestep/balancer/adapter"
	"github.com/sidestep-lb/sidestep/health"
)

// A redial tries to connect to a backend that cannot be reached until it can,
// so that no request has to. It takes the steps that requests need: TLS and the
// SETTINGS of HTTP/2 where those are spoken, since the kernel accepts connections
// for a process that is frozen. While it waits there is a timer and no goroutine.
type redial struct {
	conn    *backendConn     // read-only
	backend *adapter.Backend // read-only

	mu      sync.Mutex
	timer   *time.Timer   // of the next try; nil if none is due or running; guarded by mu
	attempt int           // guarded by mu
	delay   time.Duration // before that; guarded by mu
	reached time.Time     // when the last one succeeded; zero if none has; guarded by mu
	stopped bool          // guarded by mu
}

// start begins to try if the backend cannot be reached. If it is lost again sooner
// than it took to come back, the back-off goes on.
func (r *redial) start() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.timer != nil {
		return
	}
	switch {
	case !r.reached.IsZero() && time.Since(r.reached) < max(r.delay, health.RetryDelay(0, rand.Uint64)):
		r.scheduleLocked(r.attempt + 1)
	case r.conn.refuses.Load():
		r.scheduleLocked(0)
	default:
		r.scheduleLocked(atOnce)
	}
}

// atOnce is the attempt after a connection broke: that says little of the pod, and
// the next connection says more.
const atOnce = -1

// stop lets a try that is running finish. There is none after it.
func (r *redial) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = true
	if r.timer != nil {
		r.timer.Stop()
	}
}

// scheduleLocked is called with mu held.
func (r *redial) scheduleLocked(attempt int) {
	r.timer = nil
	if b := r.backend; r.stopped || b.Reachable() || b.Left() {
		return
	}
	r.attempt, r.delay = attempt, 0
	if attempt != atOnce {
		r.delay = health.RetryDelay(attempt, rand.Uint64)
	}
	r.timer = time.AfterFunc(r.delay, r.try)
}

func (r *redial) try() {
	if !r.conn.begin() {
		return
	}
	defer r.conn.pool.conns.Done()
	reached := false
	if !r.backend.Reachable() {
		if reached = r.conn.revive(); reached {
			r.backend.Observe(health.Success)
		} else {
			r.conn.pool.reportUnreachable()
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if reached {
		r.reached = time.Now()
	}
	r.scheduleLocked(r.attempt + 1)
}

// revive makes a connection of the kind that requests have needed, and reports
// whether that works. The next request can use it.
func (c *backendConn) revive() bool {
	l := c.main.Load()
	if l == nil {
		return c.tryConnect(c.lifetime(), poolKey{}) == nil
	}
	made, err := l.connect(c.lifetime())
	if err != nil {
		return false
	}
	c.mu.Lock()
	kept := false
	if c.mayConnect() {
		c.conns++
		kept = l.add(made)
		if !kept {
			c.remove(made)
		}
	}
	c.mu.Unlock()
	if !kept {
		made.client.Close()
	}
	return true
}

// tryConnect makes a connection that nobody uses, to see whether that works.
func (c *backendConn) tryConnect(ctx context.Context, key poolKey) error {
	if key.host == "" && !c.pool.transport.transports.mayMultiplex(key, c.endpoint) {
		conn, err := c.dial(ctx, c.pool.transport.transports.dial)
		if err == nil {
			conn.Close() // it has told what it was made for
		}
		return err
	}
	made, err := (&connPool{owner: c, key: key}).connect(ctx)
	if err == nil {
		made.client.Close()
	}
	return err
}
