package main

import (
	"math"
	"slices"
	"time"
)

// A figure is read from a record.
type figure func(r *record) float64

// percentile returns the latency, in milliseconds, that the part p of the
// requests does not exceed.
func percentile(p float64) figure {
	return func(r *record) float64 { return quantile(r.measured(r.setup.from, r.setup.length), p) }
}

// percentileBetween is percentile for a part of the run.
func percentileBetween(p float64, from, to time.Duration) figure {
	return func(r *record) float64 { return quantile(r.measured(from, to), p) }
}

func quantile(samples []sample, p float64) float64 {
	if len(samples) == 0 {
		return math.NaN()
	}
	latencies := make([]int64, len(samples))
	for i := range samples {
		latencies[i] = samples[i].latency
	}
	slices.Sort(latencies)
	at := min(int(math.Ceil(p*float64(len(latencies)))), len(latencies)) - 1
	return float64(latencies[max(at, 0)]) / float64(time.Millisecond)
}

// within returns the percentage of requests that succeeded in d.
func within(d time.Duration) figure {
	return func(r *record) float64 {
		n := 0
		all := r.measured(r.setup.from, r.setup.length)
		for i := range all {
			if all[i].ok && all[i].latency <= int64(d) {
				n++
			}
		}
		return percent(n, len(all))
	}
}

// failures returns the percentage of requests that failed.
func failures(r *record) float64 { return failed(r.measured(r.setup.from, r.setup.length)) }

func failuresBetween(from, to time.Duration) figure {
	return func(r *record) float64 { return failed(r.measured(from, to)) }
}

func failed(samples []sample) float64 {
	n := 0
	for i := range samples {
		if !samples[i].ok {
			n++
		}
	}
	return percent(n, len(samples))
}

func percent(n, of int) float64 {
	if of == 0 {
		return 0
	}
	return 100 * float64(n) / float64(of)
}

const (
	window = time.Second
	stride = 100 * time.Millisecond
)

// calm returns how many seconds after the given moment the first second begins
// in which less than 1 % of the requests fail.
func calm(since time.Duration) figure {
	return func(r *record) float64 {
		for at := since; at+window <= r.setup.length; at += stride {
			if failed(r.measured(at, at+window)) < 1 {
				return (at - since).Seconds()
			}
		}
		return (r.setup.length - since).Seconds()
	}
}

// settled returns how many seconds after the given moment the last second ends
// in which more than 1 % of the requests fail.
func settled(since time.Duration) figure {
	return func(r *record) float64 {
		last := since
		for at := since; at+window <= r.setup.length; at += stride {
			if failed(r.measured(at, at+window)) > 1 {
				last = at + window
			}
		}
		return (last - since).Seconds()
	}
}

// regained returns how many seconds after the given moment the first second
// begins in which the server has 80 % of its fair share of the attempts.
func regained(server, servers int, since time.Duration) figure {
	return func(r *record) float64 {
		for at := since; at+window <= r.setup.length; at += stride {
			if share(r.chosen(at, at+window), server)*float64(servers) >= 0.8 {
				return (at - since).Seconds()
			}
		}
		return (r.setup.length - since).Seconds()
	}
}

func share(picks []choice, server int) float64 {
	n := 0
	for i := range picks {
		if picks[i].server == server {
			n++
		}
	}
	return percent(n, len(picks)) / 100
}

// peak returns the attempts at the server with the most, in units of the mean.
func peak(r *record) float64 {
	counts := make([]int, r.setup.servers)
	picks := r.chosen(r.setup.from, r.setup.length)
	for i := range picks {
		counts[picks[i].server]++
	}
	return float64(slices.Max(counts)) * float64(len(counts)) / float64(len(picks))
}

// amplification returns the attempts for each request.
func amplification(r *record) float64 {
	return float64(len(r.picks)) / float64(len(r.samples))
}
