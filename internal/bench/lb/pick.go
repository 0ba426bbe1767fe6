package lb

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// InFlight is how many requests each goroutine has in flight. Without any,
	// policies that count them would see nothing but zeros.
	InFlight = 8
	// measured is how long it takes to measure one figure.
	measured = 200 * time.Millisecond
	// warmUp is how many requests each backend is sent before that, so that it
	// is known to all policies.
	warmUp = 20
)

// A load makes picks and ends them, InFlight of which are open at any time,
// until it is told to stop or has made so many. It returns how many it made.
type load interface {
	run(s shift) (picks int, err error)
	end()
}

// A shift is the part of one goroutine in a load.
type shift struct {
	worker int
	stop   *atomic.Bool
	limit  int
	report bool // the backends report how busy they are
}

// A PickCost is what a pick and its end cost.
type PickCost struct {
	CPU    time.Duration // user and system, garbage collection included; in nanoseconds a pick
	Allocs int           // as testing.AllocsPerRun counts them
}

// pickCosts builds a client with n backends and returns what a pick costs on
// each of these numbers of CPUs.
func pickCosts(c Client, n int, cpus []int) ([]PickCost, error) {
	l, err := c.start(n)
	if err != nil {
		return nil, err
	}
	defer l.end()
	if _, err := l.run(shift{stop: &atomic.Bool{}, limit: warmUp * n, report: true}); err != nil {
		return nil, err
	}
	time.Sleep(c.lag)
	var costs []PickCost
	for _, n := range cpus {
		cost, err := pickCost(l, n)
		if err != nil {
			return nil, err
		}
		costs = append(costs, cost)
	}
	return costs, nil
}

// pickCost has a goroutine for each CPU.
func pickCost(l load, cpus int) (PickCost, error) {
	runtime.GOMAXPROCS(cpus)
	runtime.GC()
	before := usageNow()
	picks, err := together(l, cpus)
	after := usageNow()
	if err != nil {
		return PickCost{}, err
	}
	return PickCost{
		CPU:    (after.cpu - before.cpu) / time.Duration(picks),
		Allocs: int((after.mallocs - before.mallocs) / uint64(picks)),
	}, nil
}

func together(l load, goroutines int) (picks int, err error) {
	var (
		all  sync.WaitGroup
		stop atomic.Bool
		mu   sync.Mutex // guards picks and err
	)
	for worker := range goroutines {
		all.Go(func() {
			n, failed := l.run(shift{worker: worker, stop: &stop, limit: math.MaxInt})
			mu.Lock()
			defer mu.Unlock()
			picks += n
			err = errors.Join(err, failed)
		})
	}
	time.Sleep(measured)
	stop.Store(true)
	all.Wait()
	if err == nil && picks == 0 {
		err = fmt.Errorf("no pick in %v", measured)
	}
	return picks, err
}
