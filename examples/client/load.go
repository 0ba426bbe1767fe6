package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sidestep-lb/sidestep/examples/client/result"
)

// maxInFlight bounds the requests in flight: beyond it, a request fails at
// once rather than to pile up on a client that has no more to give.
const maxInFlight = 5000

var errTooMany = errors.New("client: too many requests in flight")

// An ask sends one request and returns the name of the pod that answered.
type ask func(ctx context.Context) (pod string, err error)

// load sends rate requests per second until ctx ends or length has passed, each
// at the time at which it is due, whether or not earlier ones have been
// answered. It returns when all have ended.
func load(ctx context.Context, ask ask, rate float64, length, timeout time.Duration) result.Result {
	ctx, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	var inFlight sync.WaitGroup
	slots := make(chan struct{}, maxInFlight)
	start := time.Now()
	r := newRecorder(start)
	for n := 0; ; n++ {
		due := start.Add(time.Duration(float64(n) / rate * float64(time.Second)))
		if !sleepUntil(ctx, due) {
			break
		}
		select {
		case slots <- struct{}{}:
		default:
			now := time.Now()
			r.add(outcome{due: due, sent: now, done: now, err: errTooMany})
			continue
		}
		inFlight.Go(func() {
			defer func() { <-slots }()
			r.add(send(ask, due, timeout))
		})
	}
	ended := time.Now()
	inFlight.Wait()
	res := r.result(ended)
	res.Wanted = rate
	return res
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
