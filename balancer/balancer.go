package balancer

import (
	"cmp"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/health"
)

// Errors of Pick.
var (
	// ErrEmpty says that there are no backends.
	ErrEmpty = errors.New("no backends")
	// ErrNoneFit says that there are backends and none is fit.
	ErrNoneFit = errors.New("no backend is fit")
)

// Hooks are what an adapter brings to a Balancer. Connect is required.
type Hooks struct {
	// Connect returns what the adapter keeps for a new backend. It must not
	// block, nor call the Balancer.
	Connect func(b *Backend) Conn
	// ConnectFirst keeps a backend out of rotation until the adapter observes
	// health.Success on it, and never lets a backend be picked that is not fit.
	// Without it a new backend is fit, and when none is, all are used (fail
	// open).
	ConnectFirst bool
	// FitnessChanged, if set, is called when a backend left the rotation or
	// came back. It must not block.
	FitnessChanged func(b *Backend)
	// Published, if set, is called after each change of the rotation, by one
	// goroutine at a time. It must not call the Balancer, except for Pick.
	Published func()
	// Random is the source of chance, 64 bits a call, for use by many
	// goroutines. The default is math/rand/v2's.
	Random func() uint64
	// AfterFunc runs f in a goroutine of its own after d. The default is
	// time.AfterFunc's.
	AfterFunc func(d time.Duration, f func())
}

// publishInterval is the shortest time between two publications of the
// rotation, so that a thousand connections that become ready cost a few
// publications and not a thousand.
const publishInterval = 5 * time.Millisecond

// A Balancer holds the backends of one target and picks among them.
type Balancer struct {
	// Set at the start and read-only.
	hooks  Hooks
	policy policy

	rotation atomic.Pointer[rotation]

	mu       sync.Mutex
	backends map[discovery.Identity]*Backend // guarded by mu
	ordered  []*Backend                      // the same, in this client's order; never changed in place; guarded by mu
	due      bool                            // the rotation is out of date; guarded by mu
	pausing  bool                            // a call of publishDue is on its way; guarded by mu
	closed   bool                            // guarded by mu

	publishing sync.Mutex // held while a rotation is made and announced; taken before mu
}

// A rotation is the set that picks are made from. It never changes.
type rotation struct {
	picker   picker     // nil if there is nothing to pick from
	backends []*Backend // what picker picks from
	open     bool       // none is fit, so all are used
	err      error      // why there is no picker
}

// New returns a Balancer without backends. The error names the field of config
// that is wrong.
func New(config Config, hooks Hooks) (*Balancer, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	if hooks.Random == nil {
		hooks.Random = rand.Uint64
	}
	if hooks.AfterFunc == nil {
		hooks.AfterFunc = func(d time.Duration, f func()) { time.AfterFunc(d, f) }
	}
	b := &Balancer{
		hooks:    hooks,
		policy:   policies[config.policy()](hooks.Random),
		backends: make(map[discovery.Identity]*Backend),
	}
	b.rotation.Store(&rotation{err: ErrEmpty})
	return b, nil
}

// Update makes the Balancer hold exactly these endpoints. Backends of endpoints
// that it held before keep their state; those of the others leave, get no new
// request, and drain. The Balancer owns the slice from then on.
func (b *Balancer) Update(endpoints []discovery.Endpoint) {
	left, changed := b.replace(endpoints)
	if !changed {
		return
	}
	b.publish() // before anybody leaves, so that picks always find somebody
	for _, be := range left {
		be.left.Store(true)
		be.conn.Drain()
	}
}

// Close lets all backends leave and drain. Afterwards Pick returns ErrEmpty,
// and no hook is called any more.
func (b *Balancer) Close() {
	b.mu.Lock()
	closed, left := b.closed, b.ordered
	b.closed = true
	b.backends, b.ordered = nil, nil
	for _, be := range left {
		be.left.Store(true)
	}
	b.mu.Unlock()
	if closed {
		return
	}
	b.publishing.Lock() // waits for the last call of a hook
	b.rotation.Store(&rotation{err: ErrEmpty})
	b.publishing.Unlock()
	for _, be := range left {
		be.conn.Drain()
	}
}

// replace returns the backends that are to leave, and whether any came or leave.
func (b *Balancer) replace(endpoints []discovery.Endpoint) (left []*Backend, changed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, false
	}
	keep := make(map[discovery.Identity]*Backend, len(endpoints))
	for i := range endpoints {
		e := &endpoints[i]
		be := keep[e.Identity()] // named twice?
		if be == nil {
			be = b.backends[e.Identity()]
		}
		if be == nil {
			be = b.newBackend(e)
			changed = true
		}
		be.endpoint.Store(e)
		keep[e.Identity()] = be
	}
	for id, be := range b.backends {
		if keep[id] == nil {
			left = append(left, be)
			changed = true
		}
	}
	if changed {
		b.backends = keep
		b.ordered = slices.SortedFunc(maps.Values(keep), func(x, y *Backend) int { return cmp.Compare(x.rank, y.rank) })
	}
	return left, changed
}

func (b *Balancer) newBackend(e *discovery.Endpoint) *Backend {
	be := &Backend{balancer: b, rank: b.hooks.Random()}
	be.endpoint.Store(e)
	if b.hooks.ConnectFirst {
		be.reach.Observe(health.Unreachable)
	}
	be.conn = b.hooks.Connect(be)
	return be
}

// Backends returns the present backends in this client's order. The caller
// must not change the slice.
func (b *Balancer) Backends() []*Backend {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ordered
}

// fitnessChanged sees to it that a new rotation is published soon. Picks pass
// over a backend that has become unfit before that, too.
func (b *Balancer) fitnessChanged(be *Backend) {
	if b.hooks.FitnessChanged != nil {
		b.hooks.FitnessChanged(be)
	}
	b.mu.Lock()
	b.due = true
	start := !b.pausing && !b.closed
	b.pausing = b.pausing || start
	b.mu.Unlock()
	if start {
		b.hooks.AfterFunc(0, b.publishDue)
	}
}

// publishDue publishes at once, and then again after each pause in which
// something changed.
func (b *Balancer) publishDue() {
	b.mu.Lock()
	due := b.due && !b.closed
	b.pausing = due
	b.mu.Unlock()
	if due {
		b.publish()
		b.hooks.AfterFunc(publishInterval, b.publishDue)
	}
}

// publish makes the backends that are fit now the rotation.
func (b *Balancer) publish() {
	b.publishing.Lock()
	defer b.publishing.Unlock()
	b.mu.Lock()
	b.due = false
	all, closed := b.ordered, b.closed
	b.mu.Unlock()
	if closed {
		return
	}
	b.rotation.Store(b.rotate(all))
	if b.hooks.Published != nil {
		b.hooks.Published()
	}
}

func (b *Balancer) rotate(all []*Backend) *rotation {
	if len(all) == 0 {
		return &rotation{err: ErrEmpty}
	}
	fit := make([]*Backend, 0, len(all))
	for _, be := range all {
		if be.Fit() {
			fit = append(fit, be)
		}
	}
	switch {
	case len(fit) > 0:
		return &rotation{picker: b.policy.picker(fit), backends: fit}
	case b.hooks.ConnectFirst:
		return &rotation{err: ErrNoneFit}
	default:
		return &rotation{picker: b.policy.picker(all), backends: all, open: true}
	}
}
