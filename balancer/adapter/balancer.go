package adapter

import (
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/health"
)

// Hooks are what an adapter brings to a Balancer. Connect is required.
type Hooks struct {
	// Name is whose backends they are, such as a target, and Adapter who sends the
	// requests, such as "grpc". A Balancer with a name is one of [Statuses], keeps
	// its latest events, and logs those that matter.
	Name, Adapter string
	// Client tells Balancers of the same target apart, in [Statuses] and in the log:
	// it is what the user calls the channel or the transport. It may be empty.
	Client string
	// Logger gets what is worth a line. The default is slog.Default().
	Logger *slog.Logger
	// Connect returns what the adapter keeps for a new backend. It must not
	// block, nor call the Balancer.
	Connect func(b *Backend) Conn
	// ConnectFirst keeps a backend out of rotation until the adapter observes
	// health.Success on it, and never lets a backend be picked that is not fit.
	// Without it a new backend is fit, and when none is, all are used (fail
	// open).
	ConnectFirst bool
	// FitnessChanged, if set, is called when a backend left the rotation or
	// came back. It must neither block nor call the Balancer.
	FitnessChanged func(b *Backend)
	// Published, if set, is called after each change of the rotation, by one
	// goroutine at a time. It must not call the Balancer, except for Pick.
	Published func()
	// Now returns nanoseconds since some moment. The default is the monotonic
	// clock's.
	Now func() int64
	// Random is the source of chance, 64 bits a call, for use by many
	// goroutines. The default is math/rand/v2's.
	Random func() uint64
	// AfterFunc runs f in a goroutine of its own after d. The default is
	// time.AfterFunc's.
	AfterFunc func(d time.Duration, f func())
}

// A Balancer holds the backends of one target and picks among them.
type Balancer struct {
	// Set at the start and read-only.
	hooks     Hooks
	config    balancer.Config
	policy    policy
	timed     bool              // the policy goes by latencies
	observer  balancer.Observer // the policy, if it is told how requests end, and else nil
	keyed     *keyed            // the policy, if it is ring_hash or maglev, and else nil
	slowStart time.Duration     // 0 is none
	answered  float32           // how much a request with an answer counts as in flight

	rotation atomic.Pointer[rotation]
	probe    atomic.Pointer[Backend] // is ejected and gets the next request, see ejection.go
	sampled  atomic.Bool             // a request was, a moment ago, see sample.go

	_       [64]byte // apart from what all picks read
	mean    estimate // of the latencies of all backends
	waiting estimate // of how many requests wait at a backend, when one is answered
	best    estimate // the lowest mean, lately
	_       [40]byte

	levelMeans [maxLevels]estimate // of the latencies of each level, if there are several

	classes atomic.Pointer[classes] // nil before the first request that has one

	counts counts
	events events

	out  atomic.Int64  // how many backends are not fit, see Backend.counted
	held atomic.Int64  // how many are held back, as newcomers or because they asked for that
	calm atomic.Uint32 // how many requests waited at a backend before one was taken out, a float32

	relieving atomic.Bool // a call of relieve is on its way

	mu                     sync.Mutex
	given                  []discovery.Endpoint         // of the last update, in order; guarded by mu
	listed                 []*Backend                   // theirs, at the same indexes; guarded by mu
	ordered                []*Backend                   // the same, in this client's order; never changed in place; guarded by mu
	further                int                          // how many of them have another priority than 0; guarded by mu
	due                    bool                         // the rotation is out of date; guarded by mu
	pausing                bool                         // a call of publishDue is on its way; guarded by mu
	closed                 bool                         // guarded by mu
	ejected                int                          // how many backends are; guarded by mu
	rest                   health.Rest                  // what all did that are in rotation; guarded by mu
	restAt                 int64                        // when it was looked at; guarded by mu
	restUses               int                          // how often it has been used since; guarded by mu
	toProbe                []*Backend                   // after probe; guarded by mu
	reconsidered           int64                        // when the estimates of all that fail were looked at; guarded by mu
	retryAfterIgnoredUntil int64                        // until when Retry-After is ignored; guarded by mu
	noEjectionsUntil       int64                        // until when none is ejected; guarded by mu
	gone                   []*Backend                   // backends that have left, with requests in flight; guarded by mu
	past                   map[string]balancer.Outcomes // of those without, by zone; nil if there were none; guarded by mu
	watching               bool                         // a call that weighs the levels anew is on its way; guarded by mu

	publishing sync.Mutex // held while a rotation is made and announced; taken before mu
	spared     []float32  // which part of its load each level is spared, because it drowns; guarded by publishing
	calmed     []int      // for how many periods it has not drowned; guarded by publishing
	weighed    []uint64   // the mean of the next level when more was last spared; guarded by publishing
	troubled   bool       // the last event of a rotation was that no backend is fit; guarded by publishing
}

// New returns a Balancer without backends. The error names the field of config
// that is wrong.
func New(config balancer.Config, hooks Hooks) (*Balancer, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	if hooks.Now == nil {
		start := time.Now()
		hooks.Now = func() int64 { return int64(time.Since(start)) }
	}
	if hooks.Random == nil {
		hooks.Random = rand.Uint64
	}
	if hooks.AfterFunc == nil {
		hooks.AfterFunc = func(d time.Duration, f func()) { time.AfterFunc(d, f) }
	}
	policy, err := newPolicy(&config, hooks.Random)
	if err != nil {
		return nil, err
	}
	b := &Balancer{
		hooks:     hooks,
		config:    config,
		policy:    policy,
		timed:     usesLatencies(policy),
		slowStart: slowStart(&config),
		answered:  answeredLoad(&config),
	}
	b.keyed, _ = policy.(*keyed)
	if own, ok := policy.(*ownPolicy); ok {
		b.observer = own.observer
	}
	b.rotation.Store(&rotation{err: balancer.ErrEmpty})
	if hooks.Name != "" {
		enlist(b)
	}
	return b, nil
}

// Update makes the Balancer hold exactly these endpoints. Backends of endpoints
// that it held before keep their state; those of the others leave, get no new
// request, and drain. The Balancer owns the slice from then on.
func (b *Balancer) Update(endpoints []discovery.Endpoint) {
	gone, changed := b.replace(endpoints)
	if !changed {
		return
	}
	b.publish() // before anybody leaves, so that picks always find somebody
	for _, be := range gone {
		be.set(left)
		be.conn.Drain()
	}
}

// Close lets all backends leave and drain. Afterwards Pick returns ErrEmpty,
// and no hook is called any more.
func (b *Balancer) Close() {
	delist(b)
	b.mu.Lock()
	closed, gone := b.closed, b.ordered
	b.closed = true
	b.given, b.listed, b.ordered, b.toProbe = nil, nil, nil, nil
	b.probe.Store(nil)
	for _, be := range gone {
		be.set(left)
	}
	b.mu.Unlock()
	if closed {
		return
	}
	b.publishing.Lock() // waits for the last call of a hook
	b.rotation.Store(&rotation{err: balancer.ErrEmpty})
	b.publishing.Unlock()
	for _, be := range gone {
		be.conn.Drain()
	}
}

// Backends returns the present backends in this client's order. The caller
// must not change the slice.
func (b *Balancer) Backends() []*Backend {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ordered
}
