package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// A capacity is how much work a pod can do: workers divided by the mean time of
// a request.
type capacity struct {
	workers     int // 0: no limit
	exponential bool
}

func (c capacity) validate() error {
	if c.workers < 0 {
		return fmt.Errorf("-workers: %d is less than 0", c.workers)
	}
	return nil
}

// work returns a function that works for a time, as soon as there is a worker,
// and fails if ctx ends before it is done.
func (c capacity) work() func(context.Context, time.Duration) error {
	var workers chan struct{} // nil: no limit
	if c.workers > 0 {
		workers = make(chan struct{}, c.workers)
	}
	return func(ctx context.Context, d time.Duration) error {
		if workers != nil {
			select {
			case workers <- struct{}{}:
				defer func() { <-workers }()
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if c.exponential {
			d = time.Duration(rand.ExpFloat64() * float64(d))
		}
		return pause(ctx, d)
	}
}

// pause fails if ctx ends before d has passed.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
