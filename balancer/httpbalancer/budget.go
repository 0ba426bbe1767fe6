package httpbalancer

import (
	"sync"
	"sync/atomic"
	"time"
)

// The retry budget of a Service: one retry for every five requests, and ten a
// second besides, so that a client with few requests may retry too. It keeps
// retries from multiplying the load of backends that are overloaded (as
// Finagle's RetryBudget does).
const (
	retryCost      = 1000 // the unit is a thousandth of a retry
	requestShare   = 200
	perSecond      = 10 * retryCost
	maxFromTime    = 100 * retryCost  // saved up while there are no requests
	maxFromTraffic = 1000 * retryCost // saved up by requests
)

// A budget says whether a retry may be made. It may be used by many goroutines.
type budget struct {
	now   func() time.Duration // since some moment; read-only
	saved atomic.Int64

	mu   sync.Mutex
	last time.Duration // when time was last turned into retries; guarded by mu
}

func newBudget(now func() time.Duration) *budget {
	b := &budget{now: now, last: now()}
	b.saved.Store(perSecond)
	return b
}

// deposit takes note of a request.
func (b *budget) deposit() {
	if b.saved.Load() < maxFromTraffic {
		b.saved.Add(requestShare)
	}
}

// withdraw pays for a retry, if it can.
func (b *budget) withdraw() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	if room := maxFromTime - b.saved.Load(); room > 0 {
		b.saved.Add(min(room, int64((now-b.last)*perSecond/time.Second)))
	}
	b.last = now
	if b.saved.Load() < retryCost {
		return false
	}
	b.saved.Add(-retryCost)
	return true
}
