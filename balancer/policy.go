package balancer

import (
	"fmt"
	"slices"
	"time"

	"github.com/sidestep-lb/sidestep/balancer/internal/link"
	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/health"
)

// A Policy is a rule of the pick, for programs that need one of their own. It makes
// a Picker for each new set of backends, and hands on from one to the next what must
// survive. The Balancer calls it from one goroutine at a time.
type Policy interface {
	// Picker returns a Picker among the backends, at least one, in a slice that
	// never changes. Each level of priority has a Picker of its own.
	Picker(backends []*Backend) Picker
}

// A Picker picks among a fixed set of backends. Many goroutines use it at once. It
// should take no lock and allocate nothing.
type Picker interface {
	// Pick returns one of the backends. It is asked again, five times at most, if it
	// returns nil or a backend that the request does not admit. A policy that
	// compares backends should compare those that [Request.Admits].
	Pick(r Request) *Backend
}

// An Observer is a Policy that is told how each request ended.
type Observer interface {
	Policy
	// Observe is called once for each request, at its end, by many goroutines. The
	// latency is the time until the answer began, or until the request failed.
	Observe(b *Backend, outcome health.Outcome, latency time.Duration)
}

// A Backend is an endpoint with its live state, as a Policy sees it. A Policy gets
// the same pointer for as long as discovery names the endpoint.
type Backend struct{ BackendState }

// BackendState is what a Policy can know of a backend. Package balancer/adapter
// implements it, and so can a test of a Policy.
type BackendState interface {
	Endpoint() *discovery.Endpoint // as discovery last reported it; read-only
	Weight() uint32                // of the endpoint, at least 1
	InFlight() int64               // requests of this client that are not done
	Fit() bool                     // in rotation
}

// A Request is what a pick is made for, as a Picker sees it. It is valid until Pick
// returns.
type Request struct {
	// Key says which requests belong together, see [HashKey]. It counts if HasKey is set.
	Key    uint64
	HasKey bool
	// Class is the same for requests that should take equally long. 0 is unknown.
	Class uint64
	// Stream says that the request is a stream.
	Stream bool
	RequestState
}

// RequestState is what a Picker can ask about a request. Package balancer/adapter
// implements it, and so can a test of a Policy.
type RequestState interface {
	// Admits reports whether the request may go to b now: b is fit, was not tried
	// before, and has room. In slow start the answer is random, so ask once.
	Admits(b *Backend) bool
	Random() uint64 // 64 random bits
	Now() int64     // nanoseconds since an arbitrary moment
}

// RegisterPolicy makes a policy of the program's own known by name, for Config.Policy
// and so for JSON. The source of randomness may be used by many goroutines. It is to
// be called by init functions, and panics if the name is empty or taken.
func RegisterPolicy(name string, newPolicy func(random func() uint64) Policy) {
	if name == "" || newPolicy == nil || slices.Contains(builtIn[:], name) {
		panic(fmt.Sprintf("balancer: RegisterPolicy of %q: the name is built in, or something is missing", name))
	}
	if _, taken := link.Policies.LoadOrStore(name, newPolicy); taken {
		panic(fmt.Sprintf("balancer: RegisterPolicy of %q: the name is taken", name))
	}
}

var builtIn = [...]string{Adaptive, LeastRequest, Maglev, Random, RingHash, RoundRobin, Weighted}

// Policies returns the names of the policies, sorted: the built-in ones, and those of
// [RegisterPolicy].
func Policies() []string {
	names := slices.Clone(builtIn[:])
	link.Policies.Range(func(name, _ any) bool {
		names = append(names, name.(string))
		return true
	})
	slices.Sort(names)
	return names
}
