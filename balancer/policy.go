package balancer

import (
	"fmt"
	"slices"
	"time"

	"github.com/sidestep-lb/sidestep/balancer/internal/link"
	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/health"
)

// A Policy of the program's own makes a Picker for each new set of backends. It is
// called by one goroutine at a time.
type Policy interface {
	// Picker returns a Picker among the backends, at least one, in a slice that
	// never changes. Each level of priority has a Picker of its own.
	Picker(backends []*Backend) Picker
}

// A Picker picks among fixed backends. Many goroutines use it at once.
type Picker interface {
	// Pick returns one of the backends, which the request should admit. If there is
	// none, it returns nil, and is asked again, five times at most.
	Pick(r Request) *Backend
}

// An Observer is a Policy that is told once of each request how it ended.
type Observer interface {
	Policy
	// Observe is called by many goroutines. The latency is until the answer began.
	Observe(b *Backend, outcome health.Outcome, latency time.Duration)
}

// A Backend is an endpoint with its live state. A Policy gets the same pointer for as
// long as discovery names the endpoint.
type Backend struct{ BackendState }

// BackendState is what a Policy can ask about a backend. A test may fake it.
type BackendState interface {
	Endpoint() *discovery.Endpoint // as discovery last reported it; read-only
	Weight() uint32                // of the endpoint, at least 1
	InFlight() int64               // requests of this client that are not done
	Fit() bool                     // in rotation
}

// A Request is what a Picker picks for. It is valid until Pick returns.
type Request struct {
	Key    uint64 // see HashKey; it counts if HasKey is set
	HasKey bool
	Class  uint64 // the same for requests that should take equally long; 0 is unknown
	Stream bool
	RequestState
}

// RequestState is what a Picker can ask about a request. A test may fake it.
type RequestState interface {
	// Admits reports whether b is fit, untried and has room. Ask once: in slow start it is random.
	Admits(b *Backend) bool
	Random() uint64 // 64 random bits
	Now() int64     // nanoseconds since an arbitrary moment
}

// RegisterPolicy gives a policy of the program's own a name, for Config.Policy and so
// for JSON. Call it from init; it panics if the name is empty or taken.
func RegisterPolicy(name string, newPolicy func(random func() uint64) Policy) {
	if name == "" || newPolicy == nil || slices.Contains(builtIn[:], name) {
		panic(fmt.Sprintf("balancer: RegisterPolicy of %q: the name is built in, or something is missing", name))
	}
	if _, taken := link.Policies.LoadOrStore(name, newPolicy); taken {
		panic(fmt.Sprintf("balancer: RegisterPolicy of %q: the name is taken", name))
	}
}

var builtIn = [...]string{Adaptive, LeastRequest, Maglev, Random, RingHash, RoundRobin, Weighted}

// Policies returns the names of all policies, sorted.
func Policies() []string {
	names := slices.Clone(builtIn[:])
	link.Policies.Range(func(name, _ any) bool {
		names = append(names, name.(string))
		return true
	})
	slices.Sort(names)
	return names
}
