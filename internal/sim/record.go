package main

import (
	"cmp"
	"slices"
	"time"
)

// A record is what became of all requests of a run.
type record struct {
	setup   setup
	open    int // requests that are not finished
	samples []sample
	picks   []choice
}

type sample struct {
	at      int64 // when the request was due to be sent, whoever made it wait
	latency int64
	kind    uint8
	done    bool
	ok      bool
}

// A choice is an attempt, who made it, and the server that it went to.
type choice struct {
	at     int64
	server int
	client uint16
	kind   uint8
	home   bool // both are in one zone
}

func newRecord(s setup) *record {
	expected := 0.0
	for at := time.Duration(0); at < s.length; at += time.Second {
		expected += 1.02 * s.rate(at)
	}
	return &record{setup: s, samples: make([]sample, 0, int(expected)), picks: make([]choice, 0, int(expected))}
}

func (r *record) arrived(now int64, kind int) (number int) {
	r.open++
	r.samples = append(r.samples, sample{at: now, kind: uint8(kind)}) //nolint:gosec // there are a few
	return len(r.samples) - 1
}

func (r *record) picked(now int64, a *attempt) {
	c := a.request.client
	r.picks = append(r.picks, choice{
		at: now, server: a.server.id, client: uint16(c.id), //nolint:gosec // there are a few
		kind: r.samples[a.request.sample].kind, home: c.zone == a.server.zone,
	})
}

// finished notes an answer. A failure counts as having taken until the
// deadline, too: who fails fast is not fast.
func (r *record) finished(q *request, now int64, ok bool) {
	latency := now - q.arrived
	if !ok {
		latency = max(latency, int64(q.deadline()))
	}
	s := &r.samples[q.sample]
	s.latency, s.ok, s.done = latency, ok, true
	r.open--
}

// close ends the requests that are still open.
func (r *record) close(now int64) {
	for i := range r.samples {
		if s := &r.samples[i]; !s.done {
			s.latency = now - s.at
		}
	}
}

// measured returns the requests that arrived from the given moment on, and
// before the given end.
func (r *record) measured(from, to time.Duration) []sample {
	i, _ := slices.BinarySearchFunc(r.samples, int64(from), func(s sample, t int64) int { return cmp.Compare(s.at, t) })
	j, _ := slices.BinarySearchFunc(r.samples, int64(to), func(s sample, t int64) int { return cmp.Compare(s.at, t) })
	return r.samples[i:j]
}

// chosen is measured, for attempts.
func (r *record) chosen(from, to time.Duration) []choice {
	i, _ := slices.BinarySearchFunc(r.picks, int64(from), func(c choice, t int64) int { return cmp.Compare(c.at, t) })
	j, _ := slices.BinarySearchFunc(r.picks, int64(to), func(c choice, t int64) int { return cmp.Compare(c.at, t) })
	return r.picks[i:j]
}
