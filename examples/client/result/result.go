// Package result describes the JSON document that examples/client prints when
// it ends, for programs that read it.
package result

import (
	"slices"
	"time"
)

// Resolution is the length of a Moment.
const Resolution = 100 * time.Millisecond

// MaxFailures is how many failures of each kind a Result lists one by one; it
// counts all.
const MaxFailures = 100

// A Result is what became of all the requests of a run. A request belongs to
// the time at which it was sent.
type Result struct {
	Target   string    `json:"target"`
	Protocol string    `json:"protocol"`
	Via      string    `json:"via"`
	Policy   string    `json:"policy,omitempty"`
	Started  time.Time `json:"started"`
	Ended    time.Time `json:"ended"`
	// Rate is the number of requests sent per second; Wanted is what was asked for.
	Rate     float64 `json:"rate"`
	Wanted   float64 `json:"wanted"`
	Requests int     `json:"requests"`
	Failed   int     `json:"failed"`

	// Kinds counts the failures by kind, with the text of the first of each.
	Kinds    map[Kind]KindCount `json:"kinds"`
	Pods     map[string]Pod     `json:"pods"`
	Latency  Latency            `json:"latency"`
	Failures []Failure          `json:"failures"`
	Timeline []Moment           `json:"timeline"`

	// Connections is how many the client has opened. Over HTTP those that no
	// request was sent on do not count.
	Connections int `json:"connections"`
	// Subscriptions is how many subscriptions the client has opened, one after the
	// end of the other, if it was told to hold one.
	Subscriptions int `json:"subscriptions,omitempty"`
	// CPU is the processor time that the client has used, in seconds.
	CPU float64 `json:"cpu"`
}

// A Kind is a kind of failure.
type Kind string

// The kinds of failures.
const (
	Deadline    Kind = "deadline"     // no answer in time
	Refused     Kind = "refused"      // no connection
	Reset       Kind = "reset"        // the connection ended before the answer
	Unavailable Kind = "unavailable"  // an answer: gRPC's UNAVAILABLE or HTTP's 503
	NoEndpoints Kind = "no-endpoints" // there was no pod to ask, or no such Service
	Sent        Kind = "sent"         // the connection ended when the body, which cannot be sent twice, was on its way
	Other       Kind = "other"
)

// A KindCount counts the failures of a kind.
type KindCount struct {
	Count int    `json:"count"`
	First string `json:"first"`
}

// A Pod is what one pod has answered well.
type Pod struct {
	Requests int       `json:"requests"`
	First    time.Time `json:"first"`
	Last     time.Time `json:"last"`
}

// Latency holds percentiles of the requests that were answered well, in
// milliseconds since the time at which the request was due, so that a client
// that falls behind does not make its backends look fast.
type Latency struct {
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
}

// A Failure is a request that failed.
type Failure struct {
	Sent time.Time `json:"sent"`
	// Took is in milliseconds.
	Took float64 `json:"took"`
	Kind Kind    `json:"kind"`
	Text string  `json:"text"`
}

// A Moment counts the requests sent within one Resolution. Moments without
// requests are left out.
type Moment struct {
	Time   time.Time      `json:"t"`
	Pods   map[string]int `json:"pods,omitempty"`
	Failed int            `json:"failed,omitempty"`
	// Connections and CPU are those of the Result, as they were when the
	// first request of the moment had ended.
	Connections int     `json:"connections"`
	CPU         float64 `json:"cpu"`
	// Late is by how many milliseconds at most a request was sent after it was
	// due: the client's own fault, or that of its machine.
	Late float64 `json:"late"`
	// Latencies holds what Latency counts of this moment, and how long those took
	// that had no answer in time, if the client was told to list them.
	Latencies []float64 `json:"latencies,omitempty"`
}

// Percentiles sorts latencies and returns their percentiles.
func Percentiles(latencies []float64) Latency {
	if len(latencies) == 0 {
		return Latency{}
	}
	slices.Sort(latencies)
	at := func(share float64) float64 { return latencies[int(share*float64(len(latencies)-1))] }
	return Latency{P50: at(.5), P90: at(.9), P99: at(.99), P999: at(.999), Max: at(1)}
}

// LatencyBetween returns the percentiles of the moments that lie wholly between
// two times, if the client was told to list latencies. Requests that had no
// answer in time are among them.
func (r *Result) LatencyBetween(from, to time.Time) Latency {
	var latencies []float64
	for _, m := range r.between(from, to) {
		latencies = append(latencies, m.Latencies...)
	}
	return Percentiles(latencies)
}

// At returns the last moment that began before a time.
func (r *Result) At(t time.Time) Moment {
	var last Moment
	for _, m := range r.Timeline {
		if m.Time.Before(t) {
			last = m
		}
	}
	return last
}

// LateBetween returns how late the client sent requests, in milliseconds, at
// most in 99 of 100 moments between two times.
func (r *Result) LateBetween(from, to time.Time) float64 {
	var late []float64
	for _, m := range r.between(from, to) {
		late = append(late, m.Late)
	}
	return Percentiles(late).P99
}

// between returns the moments that lie wholly between two times.
func (r *Result) between(from, to time.Time) []Moment {
	var moments []Moment
	for _, m := range r.Timeline {
		if !m.Time.Before(from) && !m.Time.Add(Resolution).After(to) {
			moments = append(moments, m)
		}
	}
	return moments
}

// Between counts the requests that each pod answered well, and those that
// failed, in the moments that lie wholly between two times.
func (r *Result) Between(from, to time.Time) (pods map[string]int, failed int) {
	pods = make(map[string]int)
	for _, m := range r.between(from, to) {
		for pod, n := range m.Pods {
			pods[pod] += n
		}
		failed += m.Failed
	}
	return pods, failed
}
