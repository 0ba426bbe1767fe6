package main

import (
	"math"
	"slices"
	"time"
)

// only returns the part of a record that keeps says, with all attempts of the
// kinds that it keeps.
func (r *record) only(sampled func(*sample) bool, chosen func(*choice) bool) *record {
	part := &record{setup: r.setup}
	for i := range r.samples {
		if sampled(&r.samples[i]) {
			part.samples = append(part.samples, r.samples[i])
		}
	}
	for i := range r.picks {
		if chosen(&r.picks[i]) {
			part.picks = append(part.picks, r.picks[i])
		}
	}
	return part
}

// ofFirstKind returns a figure of the requests of the first kind alone: those
// that the others must do no harm.
func ofFirstKind(f figure) figure {
	return func(r *record) float64 {
		return f(r.only(
			func(s *sample) bool { return s.kind == 0 },
			func(c *choice) bool { return c.kind == 0 }))
	}
}

// ofGood returns a figure of the requests that succeeded.
func ofGood(f figure) figure {
	return func(r *record) float64 {
		return f(r.only(func(s *sample) bool { return s.ok }, func(*choice) bool { return true }))
	}
}

// atHome returns the percentage of the attempts that stayed in their client's
// zone.
func atHome(r *record) float64 {
	n := 0
	picks := r.chosen(r.setup.from, r.setup.length)
	for i := range picks {
		if picks[i].home {
			n++
		}
	}
	return percent(n, len(picks))
}

// shares calls visit with what each client gave to each server in each part of
// the given length, in units of the fair share.
func (r *record) shares(from, to, part time.Duration, visit func(share float64)) {
	servers := r.setup.servers
	counts := make([]int, servers*r.setup.clients)
	for ; from+part <= to; from += part {
		clear(counts)
		for _, c := range r.chosen(from, from+part) {
			counts[int(c.client)*servers+c.server]++
		}
		for client := range slices.Chunk(counts, servers) {
			total := 0
			for _, n := range client {
				total += n
			}
			for _, n := range client {
				visit(float64(n) * float64(servers) / float64(max(total, 1)))
			}
		}
	}
}

// leastShare returns the least that a server got of a client in a part of the
// time, in units of its fair share.
func leastShare(from, to, part time.Duration) figure {
	return func(r *record) float64 {
		least := math.Inf(1)
		r.shares(from, to, part, func(share float64) { least = min(least, share) })
		return least
	}
}

// mostShare is leastShare for the most.
func mostShare(from, to, part time.Duration) figure {
	return func(r *record) float64 {
		most := 0.0
		r.shares(from, to, part, func(share float64) { most = max(most, share) })
		return most
	}
}

// longestGap returns for how many seconds at most a server got nothing from some
// client.
func longestGap(r *record) float64 {
	last := make([]int64, r.setup.servers*r.setup.clients)
	for i := range last {
		last[i] = int64(r.setup.from)
	}
	longest := int64(0)
	picks := r.chosen(r.setup.from, r.setup.length)
	for i := range picks {
		c := &picks[i]
		at := &last[int(c.client)*r.setup.servers+c.server]
		longest = max(longest, c.at-*at)
		*at = c.at
	}
	longest = max(longest, int64(r.setup.length)-slices.Min(last))
	return time.Duration(longest).Seconds()
}

// avoided returns how many seconds after the given moment the first second
// begins in which the server has less than a tenth of its fair share.
func avoided(server, servers int, since time.Duration) figure {
	return func(r *record) float64 {
		for at := since; at+window <= r.setup.length; at += stride {
			if share(r.chosen(at, at+window), server)*float64(servers) < 0.1 {
				return (at - since).Seconds()
			}
		}
		return (r.setup.length - since).Seconds()
	}
}
