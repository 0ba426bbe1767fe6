package balancer

import (
	"maps"
	"slices"
)

// A policy is the rule of the pick. It makes a picker for each new set of
// backends, and hands on from one to the next what must survive, such as whose
// turn it is.
type policy interface {
	// picker is given one backend at least. The slice never changes.
	picker(backends []*Backend) picker
}

// A picker picks among a fixed set of backends. It is used by many goroutines
// at once, takes no lock and allocates nothing.
type picker interface {
	pick() *Backend
}

// policies makes a policy by name; random is the source of its chance.
var policies = map[string]func(random func() uint64) policy{
	RoundRobin:   newRoundRobin,
	LeastRequest: newLeastRequest,
}

// Policies returns the names of the policies, sorted.
func Policies() []string { return slices.Sorted(maps.Keys(policies)) }
