// Package load puts a steady load on examples/server, by whatever way, and
// tells what became of it. It is the part of a client that does not depend on
// the way, so that all of them are measured by the same means.
package load

import (
	"context"
	"errors"
	"sync"
	"time"
)

// maxInFlight bounds the requests in flight: beyond it, a request fails at
// once rather than to pile up on a client that has no more to give.
const maxInFlight = 5000

var (
	errTooMany = errors.New("client: too many requests in flight")
	errNoPod   = errors.New("client: the answer names no pod")
)

// A load sends requests at a steady rate, each at the time at which it is due,
// whether or not earlier ones have been answered.
type load struct {
	way     *Way
	rate    float64 // per second
	timeout time.Duration
	*recorder
}

func newLoad(way *Way, rate float64, timeout time.Duration) *load {
	return &load{way, rate, timeout, newRecorder(time.Now(), &way.connections)}
}

// run sends requests until ctx ends or length has passed, and returns the time
// at which it sent no more, after all have ended.
func (l *load) run(ctx context.Context, length time.Duration) (ended time.Time) {
	ctx, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	var inFlight sync.WaitGroup
	defer inFlight.Wait()
	slots := make(chan struct{}, maxInFlight)
	for n := 0; ; n++ {
		due := l.started.Add(time.Duration(float64(n) / l.rate * float64(time.Second)))
		if !sleepUntil(ctx, due) {
			return time.Now()
		}
		select {
		case slots <- struct{}{}:
		default:
			now := time.Now()
			l.add(outcome{due: due, sent: now, done: now, err: errTooMany})
			continue
		}
		inFlight.Go(func() {
			defer func() { <-slots }()
			l.add(send(l.way, due, l.timeout))
		})
	}
}

// send does not use the context of the run: a request that is in flight when
// the run ends may finish.
func send(way *Way, due time.Time, timeout time.Duration) outcome {
	o := outcome{due: due, sent: time.Now()}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	o.pod, o.err = way.Ask(ctx)
	o.done = time.Now()
	if o.err == nil && o.pod == "" {
		o.err = errNoPod
	}
	return o
}

// sleepUntil reports whether t came before ctx ended.
func sleepUntil(ctx context.Context, t time.Time) bool {
	wait := time.Until(t)
	if wait <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
