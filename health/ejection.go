package health

import (
	"sync"
	"sync/atomic"
	"time"
)

// When a backend is suspected, and for how long it is ejected. The rules are
// those of Linkerd's unified breaker with a longer memory for the backend's past;
// gRFC A50 would want 100 requests in 10 s from each of five backends at least,
// which a Deployment of three never has. Whether a suspected backend is ejected
// depends on the others, see [Rest.Worse].
const (
	maxConsecutive = 5   // failures in a row
	minSuccess     = 0.8 // of the requests in the window
	minRequests    = 10  // in the window, before their share counts
	buckets        = 10
	recentBuckets  = 3           // of them, the latest
	bucketTime     = time.Second // so that the window is 10 s
	minEjection    = time.Second
	maxEjection    = time.Minute
)

// A Record is what is held against one backend: its failures in a row, and the
// share of successes in the last ten seconds. Successes are counted while there
// are failures to hold them against, so that a healthy backend costs nothing.
// They are counted, not averaged over time, since a burst of failures would
// weigh next to nothing in an average. The zero value is a clean record. It may
// be used by many goroutines; times are nanoseconds since some moment.
type Record struct {
	suspect atomic.Bool // there are failures in the window

	mu          sync.Mutex
	consecutive int                                 // guarded by mu, as is all below
	late        int                                 // of those, how many ran out of time
	counts      [buckets]struct{ good, bad uint32 } // by time, modulo their number
	newest      int64                               // the number of the last bucket in use
	ejections   int                                 // in a row, each soon after the one before
	out         bool                                // since the last one
	readmitted  int64                               // when it ended, if it has
}

// A Cause is why a backend should be ejected.
type Cause uint8

const (
	// NoCause is no reason to eject it.
	NoCause Cause = iota
	// Consecutive are five failures in a row, or more where other backends fail too.
	Consecutive
	// SuccessRate is a success of less than 80 % of at least ten requests in ten
	// seconds, where the other backends do better.
	SuccessRate
)

// String says it in the words of the metrics.
func (c Cause) String() string {
	switch c {
	case Consecutive:
		return "consecutive_failures"
	case SuccessRate:
		return "success_rate"
	default:
		return "none"
	}
}

// Observe takes note of an outcome and returns why the backend is suspected, if
// it is. It should be ejected if it also does worse than the others, see
// [Rest.Worse].
func (r *Record) Observe(o Outcome, now func() int64) Cause {
	if o == Neutral || o == Success && !r.suspect.Load() {
		return NoCause
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.advance(now())
	count := &r.counts[r.newest%buckets]
	if o == Success {
		r.consecutive, r.late = 0, 0
		count.good++
		return NoCause
	}
	r.consecutive++
	count.bad++
	if o == Timeout {
		r.late++
	}
	r.suspect.Store(true)
	good, bad := r.sum()
	switch {
	case r.consecutive >= maxConsecutive:
		return Consecutive
	case good+bad >= minRequests && float64(good) < minSuccess*float64(good+bad):
		return SuccessRate
	default:
		return NoCause
	}
}

// advance drops the buckets that have left the window.
func (r *Record) advance(now int64) {
	newest := max(now/int64(bucketTime), r.newest)
	for n := max(r.newest, newest-buckets) + 1; n <= newest; n++ {
		r.counts[n%buckets] = struct{ good, bad uint32 }{}
	}
	if r.newest == newest {
		return
	}
	r.newest = newest
	if _, bad := r.sum(); bad == 0 {
		r.forget()
	}
}

// Conduct returns what the record holds.
func (r *Record) Conduct(now int64) (c Conduct) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c.Fresh = r.readmitted > 0 && now-r.readmitted < buckets*int64(bucketTime)
	if !r.suspect.Load() {
		return c
	}
	r.advance(now)
	c.Row = r.consecutive
	c.Good, c.Bad = r.sum()
	c.Late = r.late
	for n := max(r.newest-recentBuckets+1, 0); n <= r.newest; n++ {
		c.RecentGood += r.counts[n%buckets].good
		c.RecentBad += r.counts[n%buckets].bad
	}
	return c
}

func (r *Record) sum() (good, bad uint32) {
	for _, c := range r.counts {
		good += c.good
		bad += c.bad
	}
	return good, bad
}

func (r *Record) forget() {
	r.consecutive, r.late = 0, 0
	clear(r.counts[:])
	r.suspect.Store(false)
}

// Eject returns for how long the backend is to be ejected: a second, doubled
// with each ejection within a minute of the one before up to a minute, and of
// that a random part between a half and the whole. What was held against the
// backend is forgotten, but for the number of its ejections.
func (r *Record) Eject(now int64, random func() uint64) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.out && now-r.readmitted > int64(maxEjection) {
		r.ejections = 0
	}
	r.out = true
	d := doubled(minEjection, maxEjection, r.ejections)
	r.ejections++
	r.forget()
	return jittered(d, random)
}

// Readmit takes note that the backend is back in rotation.
func (r *Record) Readmit(now int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.out, r.readmitted = false, now
	r.forget()
}
