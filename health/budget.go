package health

import (
	"sync"
	"sync/atomic"
	"time"
)

// The budget is that of Finagle's RetryBudget.
const (
	retryCost      = 1000 // the unit is a thousandth of a retry
	requestShare   = 200
	perSecond      = 10 * retryCost
	maxFromTime    = 100 * retryCost  // saved up while there are no requests
	maxFromTraffic = 1000 * retryCost // saved up by requests
)

// A Budget says whether a retry or a hedge may be made: one for every five
// requests, and ten a second besides, so that a client with few requests may
// retry too. It keeps retries from multiplying the load of backends that are
// overloaded. It may be used by many goroutines; times are nanoseconds since
// some moment.
type Budget struct {
	saved atomic.Int64

	mu   sync.Mutex
	last int64 // when time was last turned into retries; guarded by mu
}

// NewBudget returns a Budget with the retries of one second.
func NewBudget(now int64) *Budget {
	b := &Budget{last: now}
	b.saved.Store(perSecond)
	return b
}

// Deposit takes note of a request.
func (b *Budget) Deposit() {
	if b.saved.Load() < maxFromTraffic {
		b.saved.Add(requestShare)
	}
}

// Withdraw pays for a retry, if it can.
func (b *Budget) Withdraw(now int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if room := maxFromTime - b.saved.Load(); room > 0 && now > b.last {
		since := min(time.Duration(now-b.last), time.Minute)
		b.saved.Add(min(room, int64(since*perSecond/time.Second)))
	}
	b.last = max(b.last, now)
	if b.saved.Load() < retryCost {
		return false
	}
	b.saved.Add(-retryCost)
	return true
}

// Refund takes back a Withdraw for a retry that was not made.
func (b *Budget) Refund() { b.saved.Add(retryCost) }
