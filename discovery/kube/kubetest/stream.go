package kubetest

import (
	"context"
	"sync"
)

// stream is a running watch, as the faults see it.
type stream struct {
	resource *resource
	cancel   context.CancelFunc
	ordered  chan struct{} // holds a token while there may be orders

	mu     sync.Mutex
	orders []order // guarded by mu
}

// order tells a stream to send bytes that are no event of the history, to end,
// or both, once it has sent all changes up to a revision.
type order struct {
	after int64
	data  []byte
	end   ending
}

type ending int

const (
	goOn ending = iota
	endClean
	endAbrupt
)

func newStream(r *resource, cancel context.CancelFunc) *stream {
	return &stream{resource: r, cancel: cancel, ordered: make(chan struct{}, 1)}
}

func (s *stream) order(o order) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.orders = append(s.orders, o)
	select {
	case s.ordered <- struct{}{}:
	default:
	}
}

// take is the next order, if the stream has come as far as it.
func (s *stream) take(revision int64) (order, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.orders) == 0 || s.orders[0].after > revision {
		return order{}, false
	}
	next := s.orders[0]
	s.orders = s.orders[1:]
	return next, true
}
