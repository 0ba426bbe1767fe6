package main

import (
	"slices"
	"time"
)

// scenarios returns all of them: those of trouble, in the order of their numbers,
// and those of ordinary life.
func scenarios() []*scenario {
	trouble := []*scenario{
		slowReplica(), heterogeneous(), onePodSlow(), fastFailure(), halfFailure(), blackHole(),
		garbageCollection(), coldPod(), overload(), herd(), subsets(), retryStorm(), recovery(), hotKey(),
	}
	ordinary := []*scenario{relief(), coldRollout(), scaleUp(), scaleDown(), crashLoop(), mixedLoad(), uniformNoise(), impatience(), spareUs(), tooMany(), drowningZone()}
	return slices.Concat(trouble, rollouts(), ordinary)
}

// service is what most scenarios begin with: pods of four workers, requests that
// take 10 ms of one of them on average, ten clients, and a load in units of what
// all pods can do. The first ten of its sixty seconds are not measured.
func service(pods int, load float64) setup {
	return setup{
		servers: pods, workers: 4, demand: exponential(10 * time.Millisecond), clients: 10,
		rate: steady(load * float64(pods) * 400),
		from: 10 * time.Second, length: 60 * time.Second,
	}
}

// with is the set-up with a story. The share of the first server is plotted.
func (s setup) with(story func(w *world)) setup {
	s.story = story
	return s
}

// between lets a server be slower for a time.
func between(from, to time.Duration, factor float64) func(time.Duration) float64 {
	return func(now time.Duration) float64 {
		if now >= from && now < to {
			return factor
		}
		return 1
	}
}

// always lets a server be slower.
func always(factor float64) func(time.Duration) float64 {
	return func(time.Duration) float64 { return factor }
}

func everybody(groups ...[]contestant) []contestant { return slices.Concat(groups...) }
