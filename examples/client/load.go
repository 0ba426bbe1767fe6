package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// maxInFlight bounds the requests in flight: beyond it, a request fails at
// once rather than to pile up on a client that has no more to give.
const maxInFlight = 5000

var errTooMany = errors.New("client: too many requests in flight")

// An ask sends one request and returns the name of the pod that answered.
type ask func(ctx context.Context) (pod string, err error)

// A load sends requests at a steady rate, each at the time at which it is due,
// whether or not earlier ones have been answered.
type load struct {
	ask     ask
	rate    float64 // per second
	timeout time.Duration
	*recorder
}

func newLoad(ask ask, rate float64, timeout time.Duration) *load {
	return &load{ask, rate, timeout, newRecorder(time.Now())}
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
			l.add(send(l.ask, due, l.timeout))
		})
	}
}

// send does not use the context of the run: a request that is in flight when
// the run ends may finish.
func send(ask ask, due time.Time, timeout time.Duration) outcome {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	o := outcome{due: due, sent: time.Now()}
	o.pod, o.err = ask(ctx)
	o.done = time.Now()
	if o.err == nil && o.pod == "" {
		o.err = fmt.Errorf("the answer names no pod")
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
