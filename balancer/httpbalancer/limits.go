package httpbalancer

import (
	"math"
	"math/rand/v2"
	"net/http"
	"time"
)

// limits are those for the connections to one backend.
type limits struct {
	conns   int           // at most
	idle    int           // at most
	timeout time.Duration // of idle ones; 0 is none
	maxAge  time.Duration // 0 is none
}

func limitsOf(config *Config, base *http.Transport) limits {
	l := limits{conns: math.MaxInt, idle: maxIdleConnsPerBackend, timeout: base.IdleConnTimeout, maxAge: config.MaxConnAge}
	if base.MaxConnsPerHost > 0 {
		l.conns = base.MaxConnsPerHost
	}
	switch {
	case base.MaxIdleConnsPerHost < 0, base.DisableKeepAlives:
		l.idle = 0
	case base.MaxIdleConnsPerHost > 0:
		l.idle = base.MaxIdleConnsPerHost
	}
	return l
}

// age returns the age that a connection may reach: a tenth more or less each
// time, so that those made together do not all end together.
func (l *limits) age() time.Duration {
	if l.maxAge == 0 {
		return 0
	}
	return l.maxAge*9/10 + time.Duration(rand.Int64N(int64(l.maxAge/5)+1))
}

// mayConnect reports whether the limit allows for another connection. It is
// called with mu held.
func (c *backendConn) mayConnect() bool { return !c.closed && c.conns < c.pool.transport.limits.conns }

// makeRoom closes a connection of another connPool that nobody uses, if it is the
// limit that keeps l from having one. It is called with mu held.
func (c *backendConn) makeRoom(l *connPool) {
	if c.closed || c.mayConnect() {
		return
	}
	for _, other := range c.connPools {
		if n := len(other.idle); other != l && n > 0 {
			victim := other.idle[0]
			other.idle = other.idle[1:]
			c.pool.conns.Go(victim.close) // which wants mu
			return
		}
		for _, victim := range other.shared {
			if other != l && victim.users.shut() {
				other.remove(victim)
				c.pool.conns.Go(victim.close)
				return
			}
		}
	}
}

// idleConnsLocked is called with mu held.
func (c *backendConn) idleConnsLocked() (n int) {
	for _, l := range c.connPools {
		n += len(l.idle)
	}
	return n
}

// expireLater sees to it that idle connections close in time. HTTP/2 connections
// do that themselves. It is called with mu held.
func (c *backendConn) expireLater() {
	if timeout := c.pool.transport.limits.timeout; timeout > 0 && c.expiry == nil {
		c.expiry = time.AfterFunc(timeout, c.expire)
	}
}

// expire closes the connections that have been idle for too long, or are too old.
func (c *backendConn) expire() {
	timeout := c.pool.transport.limits.timeout
	now := time.Now()
	var expired []*conn
	c.mu.Lock()
	c.expiry = nil
	oldest := now
	for _, l := range c.connPools {
		kept := l.idle[:0]
		for _, conn := range l.idle {
			if now.Sub(conn.idle) >= timeout || conn.old() {
				expired = append(expired, conn)
				continue
			}
			kept = append(kept, conn)
			if conn.idle.Before(oldest) {
				oldest = conn.idle
			}
		}
		clear(l.idle[len(kept):])
		l.idle = kept
	}
	if c.idleConnsLocked() > 0 && !c.closed {
		c.expiry = time.AfterFunc(timeout-now.Sub(oldest), c.expire)
	}
	c.mu.Unlock()
	for _, conn := range expired {
		conn.close()
	}
}

// closeIdle closes the connections that no attempt uses.
func (c *backendConn) closeIdle() {
	var idle, shared []*conn
	c.mu.Lock()
	for _, l := range c.connPools {
		idle = append(idle, l.idle...)
		l.idle = nil
		shared = append(shared, l.shared...)
	}
	c.mu.Unlock()
	for _, conn := range idle {
		conn.close()
	}
	for _, conn := range shared {
		if conn.users.shut() {
			conn.close()
		}
	}
}
