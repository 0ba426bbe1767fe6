package adapter

import (
	"hash/maphash"
	"sync/atomic"
	"time"
)

// Requests of one class, such as calls of one gRPC method, take about as long as
// each other. What a latency says of a backend is how it compares with those of the
// same class: a long poll that is answered after 30 s is no slow answer, and a
// backend that has just answered one is not slow for others.

const (
	maxClasses  = 64
	classProbes = 4 // places that a class may have in the table

	longAnswer = 8                     // times the mean: a class with longer answers says nothing of others
	longMargin = 20 * time.Millisecond // and that much on top
)

var classSeed = maphash.MakeSeed()

// ClassOf returns the class of that name, such as a gRPC method, for Request.Class.
func ClassOf(name string) uint64 { return max(maphash.String(classSeed, name), 1) }

// Measures reports whether the class of a request matters now: the policy goes by
// latencies, or a backend is judged by them. It is for adapters to which it costs
// something to find the class out.
func (b *Balancer) Measures() bool { return b.rotation.Load().timed }

// classes keeps the mean latency of each class, in a table of a fixed size. Classes
// beyond that share a place.
type classes [maxClasses]classMean

type classMean struct {
	class atomic.Uint64
	mean  estimate
}

// find returns the place of a class, which is not 0.
func (t *classes) find(class uint64) *classMean {
	home := class >> 32
	for i := range uint64(classProbes) {
		slot := &t[(home+i)%maxClasses]
		if c := slot.class.Load(); c == class || c == 0 && slot.class.CompareAndSwap(0, class) {
			return slot
		}
	}
	return &t[home%maxClasses]
}

// isLong reports whether requests of a class say nothing of a backend for others:
// their answers take many times the mean, or none has come yet.
func (b *Balancer) isLong(class uint64, now int64) bool {
	own, _ := b.classTable().find(class).mean.read(now)
	mean, _ := b.mean.read(now)
	return own == 0 || mean > 0 && own > longAnswer*mean+float32(longMargin)
}

func (b *Balancer) classTable() *classes {
	if t := b.classes.Load(); t != nil {
		return t
	}
	b.classes.CompareAndSwap(nil, new(classes))
	return b.classes.Load()
}

// usual returns the mean latency of a class at backends that are no newcomers, or 0.
func (b *Balancer) usual(class uint64, now int64) float32 {
	if class != 0 {
		if t := b.classes.Load(); t != nil {
			mean, _ := t.find(class).mean.read(now)
			return mean
		}
	}
	mean, _ := b.mean.read(now)
	return mean
}

// normalize takes note of the latency of a request, and returns what it says of the
// backend: the latency that a request of the usual kind would have had. It reports
// false where it says nothing. That of a newcomer is not part of what is usual.
func (b *Balancer) normalize(class uint64, now int64, latency float32, newcomer bool) (float32, bool) {
	mean, _ := b.mean.read(now)
	if class == 0 {
		return latency, true
	}
	of := &b.classTable().find(class).mean
	own, _ := of.read(now)
	if !newcomer && of.older(now, meanPeriod) {
		of.bounded(now, latency)
	}
	switch {
	case own == 0 || mean == 0:
		return latency, true
	case own > longAnswer*mean+float32(longMargin):
		return 0, false
	default:
		return latency / own * mean, true
	}
}
