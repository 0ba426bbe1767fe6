package lb

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"time"

	"github.com/sidestep-lb/sidestep/discovery"
)

const (
	changes  = 20 // updates with one change
	nothings = 10 // updates with none
)

// An UpdateCost is what it costs to keep up with a list of backends.
type UpdateCost struct {
	Start          time.Duration // from an empty list to all backends in use: CPU
	StartPublished int           // pickers that gRPC was given meanwhile
	StartAllocs    int           // meanwhile
	// One backend is replaced: the CPU of the call, that until the new one is in
	// use, and the pickers meanwhile.
	ChangeCall, Change time.Duration
	ChangePublished    float64
	// Nothing changes: the CPU of the call.
	SameCall      time.Duration
	SameAllocs    int
	SamePublished float64
}

// A follower is told of updates. What an update is told by is made before, so
// that nothing but the update itself is measured.
type follower interface {
	prepare(list []discovery.Endpoint) error // for the next calls of update
	update() error
	settle()           // lets new backends become ready, and waits until they are in use
	publications() int // so far
	close()
}

func (c Client) follower() (follower, error) {
	if c.Name == Balancer {
		return newBalancerFollower()
	}
	c.early = false
	ch, err := newChannel(c)
	return &channelFollower{channel: ch}, err
}

// updateCosts measures them with n backends.
func updateCosts(c Client, n int) (*UpdateCost, error) {
	f, err := c.follower()
	if err != nil {
		return nil, err
	}
	defer f.close()
	l := newList(n)
	if err := prepare(f, l); err != nil {
		return nil, err
	}
	var cost UpdateCost
	if err := cost.start(f); err != nil {
		return nil, err
	}
	if err := cost.change(f, l); err != nil {
		return nil, err
	}
	return &cost, cost.same(f)
}

// prepare leaves no garbage that others would have to collect.
func prepare(f follower, l *list) error {
	err := f.prepare(endpointsOf(l.numbers))
	runtime.GC()
	return err
}

// A list of backends is sorted by address, as discovery hands it on.
type list struct {
	numbers []int
	random  *rand.Rand
}

func newList(n int) *list {
	l := &list{random: rand.New(rand.NewPCG(1, uint64(n)))}
	for i := range n {
		l.numbers = append(l.numbers, 2*i)
	}
	return l
}

// replace puts a backend that was never there in the place of another, but not
// at the same place.
func (l *list) replace() {
	n := len(l.numbers)
	out := l.random.IntN(n)
	l.numbers = slices.Delete(l.numbers, out, out+1)
	for {
		number := 2*l.random.IntN(n) + 1
		if at, found := slices.BinarySearch(l.numbers, number); !found {
			l.numbers = slices.Insert(l.numbers, at, number)
			return
		}
	}
}

func endpointsOf(numbers []int) []discovery.Endpoint {
	made := make([]discovery.Endpoint, len(numbers))
	for i, number := range numbers {
		made[i] = endpoint(number)
	}
	return made
}

func (c *UpdateCost) start(f follower) error {
	before := usageNow()
	if err := f.update(); err != nil {
		return err
	}
	f.settle()
	after := usageNow()
	c.Start = after.cpu - before.cpu
	c.StartAllocs = int(after.mallocs - before.mallocs)
	c.StartPublished = f.publications()
	return nil
}

func (c *UpdateCost) change(f follower, l *list) error {
	var calls, all []time.Duration
	published := f.publications()
	for range changes {
		l.replace()
		if err := prepare(f, l); err != nil {
			return err
		}
		before := CPU()
		if err := f.update(); err != nil {
			return err
		}
		calls = append(calls, CPU()-before)
		f.settle()
		all = append(all, CPU()-before)
	}
	c.ChangeCall, c.Change = middle(calls), middle(all)
	c.ChangePublished = float64(f.publications()-published) / changes
	return nil
}

func (c *UpdateCost) same(f follower) error {
	calls := make([]time.Duration, 0, nothings)
	published := f.publications()
	mallocs := usageNow().mallocs
	for range nothings {
		before := CPU()
		if err := f.update(); err != nil {
			return err
		}
		calls = append(calls, CPU()-before)
	}
	c.SameAllocs = int((usageNow().mallocs - mallocs) / nothings)
	c.SameCall = middle(calls)
	c.SamePublished = float64(f.publications()-published) / nothings
	return nil
}

func middle(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}
