package adapter

import (
	"math"
	"sync/atomic"
	"time"
)

// An estimate is a moving average of latencies that newer ones weigh more in,
// by their distance in time. It is one word: the average in nanoseconds, and
// when it last changed in units of 16.4 µs. Zero has measured nothing.
type estimate struct{ word atomic.Uint64 }

const (
	estimateTime      = 2 * time.Second // after which 63 % of the average is newer
	estimateTimeShift = 14
)

func packEstimate(average float32, now int64) uint64 {
	return uint64(math.Float32bits(average))<<32 | uint64(uint32(now>>estimateTimeShift))
}

// read returns the average and how long it is since it changed, in nanoseconds;
// or zero if there is none.
func (e *estimate) read(now int64) (average, idle float32) {
	word := e.word.Load()
	if word == 0 {
		return 0, 0
	}
	ticks := int32(uint32(now>>estimateTimeShift) - uint32(word)) // a clock that stood still for 9 hours starts anew
	return math.Float32frombits(uint32(word >> 32)), float32(max(ticks, 0)) * (1 << estimateTimeShift)
}

// changed returns when the average last changed, or the distant past.
func (e *estimate) changed(now int64) int64 {
	average, idle := e.read(now)
	if average == 0 {
		return math.MinInt64
	}
	return now - int64(idle)
}

// older reports whether the average last changed longer ago than that, by about
// 16 µs, or never has.
func (e *estimate) older(now int64, than time.Duration) bool {
	word := e.word.Load()
	return word == 0 || uint32(now>>estimateTimeShift)-uint32(word) > uint32(than>>estimateTimeShift)
}

// observe adds a latency. If another goroutine does the same at this moment,
// one of the two is lost, and would hardly have counted.
func (e *estimate) observe(now int64, latency float32) { e.add(now, latency, 1) }

// add is observe for a latency that weighs at most as much as that.
func (e *estimate) add(now int64, latency, most float32) {
	word := e.word.Load()
	average, idle := e.read(now)
	if word != 0 {
		average = latency + (average-latency)*max(decay(idle*(1/float32(estimateTime))), 1-most)
	} else {
		average = latency
	}
	e.word.CompareAndSwap(word, packEstimate(max(average, 1), now))
}

// A latency that is many times the average may be that of a request that takes long
// by itself, such as a long poll. One alone counts little.
const (
	outlier       = 8
	outlierWeight = 1.0 / 8
	minOutlier    = float32(time.Millisecond)
)

// bounded is observe for an average of many backends, which no single latency raises
// by much.
func (e *estimate) bounded(now int64, latency float32) {
	if average, _ := e.read(now); average > 0 && latency > average {
		e.add(now, min(latency, outlier*average+minOutlier), outlierWeight)
		return
	}
	e.observe(now, latency)
}

// mix adds a latency that weighs at least as much as that, more if it is long since
// the last one, and four times as much if it is a fourth of the average: that things
// are better is to be known soon.
func (e *estimate) mix(now int64, latency, least float32, fade time.Duration) {
	average, idle := e.read(now)
	weight := max(least, 1-decay(idle/float32(fade)))
	switch {
	case average == 0:
		average = latency
	case latency < average/4:
		weight = min(4*weight, 1)
	}
	e.word.Store(packEstimate(max(average+weight*(latency-average), 1), now))
}

// decay is exp(-x), with a shortcut for the short times that are the rule.
func decay(x float32) float32 {
	if x < 1.0/256 {
		return 1 - x
	}
	return float32(math.Exp(-float64(x)))
}

// A tally counts requests, and forgets 63 % of them in tallyTime. It is one word
// like an estimate.
type tally struct{ word atomic.Uint64 }

const tallyTime = 10 * time.Second

// read returns the count and one more, so that it is never nothing.
func (t *tally) read(now int64) float32 {
	word := t.word.Load()
	ticks := int32(uint32(now>>estimateTimeShift) - uint32(word))
	return 1 + math.Float32frombits(uint32(word>>32))*decay(float32(max(ticks, 0))*((1<<estimateTimeShift)/float32(tallyTime)))
}

// add counts one more than the read that it is given. If another goroutine does
// the same at this moment, one of the two is lost, which evens out.
func (t *tally) add(now int64, read float32) { t.word.Store(packEstimate(read, now)) }
