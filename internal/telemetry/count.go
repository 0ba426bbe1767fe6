// Package telemetry counts what the sources of discovery ask of servers, for the
// whole process. Package balancer/telemetry reports it. It knows nothing of
// OpenTelemetry, so that nobody links that who does not want it.
package telemetry

import (
	"sync"
	"sync/atomic"
)

// A Key is what is counted.
type Key struct {
	// What is the kind of thing, and Label which of its kind.
	What, Label string
}

// What is counted.
const (
	// Request is a request to the API server; its label is the verb, list or watch.
	Request = "kube.request"
	// Failure is one that failed; its label is the verb.
	Failure = "kube.failure"
	// Answer is an answer of a DNS server; its label is the code, such as NOERROR,
	// or "none" where there was none in time.
	Answer = "dns.answer"
)

var counts sync.Map // *atomic.Uint64 by Key

// Count adds one.
func Count(what, label string) {
	key := Key{what, label}
	n, ok := counts.Load(key)
	if !ok {
		n, _ = counts.LoadOrStore(key, new(atomic.Uint64))
	}
	n.(*atomic.Uint64).Add(1)
}

// Counts returns what was counted so far.
func Counts() map[Key]uint64 {
	read := make(map[Key]uint64)
	for key, n := range counts.Range {
		read[key.(Key)] = n.(*atomic.Uint64).Load()
	}
	return read
}
