package httpbalancer

import (
	"context"
	"sync"
)

// maxWarming is how many connections of a pool are made ahead of requests at the
// same time.
const maxWarming = 16

// A warmer makes a connection to each backend before a request needs it. It has
// goroutines while there are any left to make.
type warmer struct {
	pool *pool // read-only

	mu      sync.Mutex
	key     poolKey        // what requests need; guarded by mu
	known   bool           // key is set; guarded by mu
	waiting []*backendConn // guarded by mu
	workers int            // guarded by mu
}

// learn takes note of what a request needs, the first time.
func (w *warmer) learn(key poolKey) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.known && !key.http1 {
		w.key, w.known = key, true
		w.startWorkerLocked()
	}
}

// add is told of a new backend. It does not block.
func (w *warmer) add(c *backendConn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiting = append(w.waiting, c)
	w.startWorkerLocked()
}

// startWorkerLocked is called with mu held.
func (w *warmer) startWorkerLocked() {
	for w.known && w.workers < min(maxWarming, len(w.waiting)) && w.pool.hold() {
		w.workers++
		go w.work()
	}
}

func (w *warmer) work() {
	defer w.pool.conns.Done()
	for {
		w.mu.Lock()
		if len(w.waiting) == 0 {
			w.workers--
			w.mu.Unlock()
			return
		}
		c := w.waiting[0]
		w.waiting[0] = nil
		w.waiting = w.waiting[1:]
		w.mu.Unlock()
		c.connPool(w.key).warm()
	}
}

// warm makes a connection if the backend has none. A backend that cannot be
// reached is left for a request to find out.
func (l *connPool) warm() {
	l.owner.mu.Lock()
	needed := l.owner.conns == 0 && l.owner.mayConnect() && !l.owner.leaving.Load()
	if needed {
		l.dials++
		l.owner.conns++
	}
	l.owner.mu.Unlock()
	if needed {
		c, err := l.connect(context.Background())
		l.dialled(context.Background(), c, err)
	}
}
