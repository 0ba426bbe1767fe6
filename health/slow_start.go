package health

import "time"

// minShare is the least share of a backend in slow start, so that it gets to
// warm up at all.
const minShare = 0.1

// SlowStart returns which part of its share of the requests a backend should
// get that came age ago, if it takes a window to warm up: a tenth at first, and
// then in proportion to its age (Envoy's slow start with aggression 1).
func SlowStart(age, window time.Duration) float64 {
	if age >= window {
		return 1
	}
	return max(minShare, float64(age)/float64(window))
}
