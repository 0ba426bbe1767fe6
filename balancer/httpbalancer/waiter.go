package httpbalancer

import (
	"context"
	"slices"
)

// A waiter is a request that waits for a connection.
type waiter struct {
	result chan waitResult // holds one
}

// A waitResult is a connection to try, or why there is none, or neither: look again.
type waitResult struct {
	conn *conn
	err  error
}

// wait returns what the waiter is granted.
func (l *connPool) wait(ctx context.Context, cancel <-chan struct{}, w *waiter) (*conn, error) {
	defer l.queued.Add(-1)
	var err error
	select {
	case g := <-w.result:
		return g.conn, g.err
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-cancel:
		err = context.Canceled
	}
	l.owner.mu.Lock()
	if i := slices.Index(l.waiting, w); i >= 0 {
		l.waiting = slices.Delete(l.waiting, i, i+1)
	}
	l.owner.mu.Unlock()
	select {
	case g := <-w.result: // it came too late, and is for somebody else
		l.redeliver(g)
	default:
	}
	return nil, err
}

// redeliver gives a result that nobody took to another.
func (l *connPool) redeliver(g waitResult) {
	switch c := g.conn; {
	case c == nil:
	case c.http2:
		l.notify()
	case !l.put(c):
		c.close()
	}
}

// deliverLocked gives g to the first in the queue. It is called with mu held.
func (l *connPool) deliverLocked(g waitResult) bool {
	if len(l.waiting) == 0 {
		return false
	}
	l.waiting[0].result <- g
	l.waiting[0] = nil
	l.waiting = l.waiting[1:]
	return true
}

// notify makes those look again who wait. There may be more room.
func (l *connPool) notify() {
	if l.queued.Load() == 0 {
		return
	}
	l.owner.mu.Lock()
	defer l.owner.mu.Unlock()
	l.wakeLocked()
}

// wakeLocked is notify with mu held.
func (l *connPool) wakeLocked() {
	l.changes++
	for l.deliverLocked(waitResult{}) {
	}
}
