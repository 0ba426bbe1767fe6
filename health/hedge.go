package health

import (
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

const (
	hedgeWindow   = 10 * time.Second // of latencies; that and the one before count
	hedgeRefresh  = time.Second      // how often the delay is found anew
	minLatencies  = 100              // before there is a delay
	minHedgeDelay = time.Millisecond // as in Finagle
)

// A HedgeTimer says how long to wait for the answer to a request before the same
// is asked of another backend: for as long as all but a few of the latest answers
// took, so that only those few are asked twice (Finagle's BackupRequestFilter).
// Whether such a hedge may be sent is for a [Budget] to say. It may be used by
// many goroutines; times are nanoseconds since some moment.
type HedgeTimer struct {
	percentile float64 // read-only
	delay      atomic.Int64
	due        atomic.Int64 // when to find the delay anew

	current atomic.Uint32 // which of the windows is filled
	windows [2][latencyBuckets]atomic.Uint32

	mu    sync.Mutex // held to find the delay
	began int64      // the present window; guarded by mu
}

// NewHedgeTimer returns a HedgeTimer that waits for as long as the given
// percentile of the requests takes, such as 95.
func NewHedgeTimer(percentile float64) *HedgeTimer { return &HedgeTimer{percentile: percentile} }

// Observe takes note of how long a request took. One that was given up counts,
// too, as having taken the time until then: it would have taken longer than the
// delay, and that is what matters.
func (t *HedgeTimer) Observe(latency time.Duration) {
	t.windows[t.current.Load()][latencyBucket(latency)].Add(1)
}

// Delay returns how long to wait for an answer: a millisecond at least. There is
// no delay before a hundred requests have been observed in the last 10 to 20
// seconds.
func (t *HedgeTimer) Delay(now int64) (_ time.Duration, ok bool) {
	if now >= t.due.Load() && t.mu.TryLock() {
		t.refresh(now)
		t.mu.Unlock()
	}
	d := time.Duration(t.delay.Load())
	return d, d > 0
}

// refresh is called with mu held.
func (t *HedgeTimer) refresh(now int64) {
	t.due.Store(now + int64(hedgeRefresh))
	t.delay.Store(int64(t.find()))
	if since := now - t.began; since >= int64(hedgeWindow) {
		next := 1 - t.current.Load()
		t.clear(next)
		if since >= 2*int64(hedgeWindow) { // nobody has asked for a while: what there is is older than that
			t.clear(1 - next)
		}
		t.began = now
		t.current.Store(next)
	}
}

func (t *HedgeTimer) clear(window uint32) {
	for i := range t.windows[window] {
		t.windows[window][i].Store(0)
	}
}

// find returns the percentile of what both windows hold, or 0 if that is too little.
func (t *HedgeTimer) find() time.Duration {
	var counts [latencyBuckets]uint64
	total := uint64(0)
	for i := range counts {
		counts[i] = uint64(t.windows[0][i].Load()) + uint64(t.windows[1][i].Load())
		total += counts[i]
	}
	if total < minLatencies {
		return 0
	}
	rest := float64(total) * t.percentile / 100
	for i, n := range counts {
		if rest -= float64(n); rest <= 0 {
			return max(latencyOf(i), minHedgeDelay)
		}
	}
	return latencyOf(latencyBuckets - 1)
}

// Latencies are counted in buckets of which each reaches an eighth of a power of
// two further, from 65 µs to 69 s.
const (
	firstPower     = 16
	lastPower      = 36
	latencyBuckets = (lastPower - firstPower) * 8
)

func latencyBucket(d time.Duration) int {
	ns := uint64(max(d, 0))
	if ns < 1<<firstPower {
		return 0
	}
	power := bits.Len64(ns) - 1
	return min((power-firstPower)*8+int(ns>>(power-3)&7), latencyBuckets-1)
}

// latencyOf is the upper bound of a bucket.
func latencyOf(bucket int) time.Duration {
	power, eighth := firstPower+bucket/8, bucket%8
	return time.Duration(uint64(9+eighth) << (power - 3))
}
