package adapter

import "sync/atomic"

// A load is the number of requests in flight and the sum of their starting
// times in one word, so that both are read and changed together and without a
// lock: the number in the low 20 bits, the sum in the high 44 bits, where it
// may overflow, since only its difference from another sum counts. A time is
// counted in units of 8.2 µs; ages add up to 4.5 years before they are wrong.
//
// Where the policy keeps no time, all times are 0, and in place of their sum is
// how many requests have succeeded: that they are counted costs nothing then.
type load struct{ word atomic.Uint64 }

const (
	loadCountBits = 20
	loadTimeShift = 13
)

// one is a request that started then.
func one(start int64) uint64 { return uint64(start)>>loadTimeShift<<loadCountBits + 1 }

func (l *load) start(now int64) { l.word.Add(one(now)) }

// finish returns what is left.
func (l *load) finish(start int64) uint64 { return l.word.Add(-one(start)) }

// restart makes a request that started before one that starts now.
func (l *load) restart(start, now int64) { l.word.Add(one(now) - one(start)) }

// succeed is finish for a request that succeeded, where no time is kept, and
// successes is how many have.
func (l *load) succeed() { l.word.Add(1<<loadCountBits - 1) }

func (l *load) tally() { l.word.Add(1 << loadCountBits) }

func (l *load) successes() uint64 { return l.word.Load() >> loadCountBits }

func (l *load) count() int64 { return int64(l.word.Load() & (1<<loadCountBits - 1)) }

// read returns the number of requests in flight and their mean age in
// nanoseconds. It is the only sign of a backend that has stopped answering,
// since latencies are known only of answers.
func (l *load) read(now int64) (n, age float32) { return l.since(now, 0) }

// since is read without the requests that an earlier value of the word holds, as far
// as they are still there.
func (l *load) since(now int64, earlier uint64) (n, age float32) {
	const mask = 1<<loadCountBits - 1
	word := l.word.Load()
	if word&mask <= earlier&mask {
		return 0, 0
	}
	word -= earlier
	count := word & mask
	if count == 0 {
		return 0, 0
	}
	// Both have the count in their low bits, which cancel. If another goroutine
	// has started one since, the difference may be negative.
	sum := max(int64(one(now)*count-word)>>loadCountBits<<loadTimeShift, 0)
	return float32(count), float32(sum) / float32(count)
}
