package subset

import (
	"context"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/sidestep-lb/sidestep/discovery"
)

// calm is how long a Chooser looks away after it has looked at its peers: a
// rollout changes them many times, and each change may cost connections.
const calm = time.Second

// A Chooser is the subscription of a client that connects to a subset of a
// target. The subset is that of [Bounded] while the client's peers are known and
// the client is among them, and that of [Rendezvous] before and otherwise.
//
// The client is known by the name of its pod: the environment variable POD_NAME,
// which a manifest sets from metadata.name by the downward API, or else the name
// of the host. The two differ where a pod uses the network of its node, or sets
// a hostname.
type Chooser struct {
	*discovery.Subscription // to the target

	// Set at the start and read-only.
	client string
	size   int
	close  func() // ends follow and waits for it

	mu    sync.Mutex
	peers *peers             // never nil; guarded by mu
	wake  context.CancelFunc // ends the wait of Next; guarded by mu

	// What the caller of Next and Choose goes by; owned by it.
	view    discovery.View
	known   *peers
	choices []choice // by level
}

// peers are what is known of the clients that choose from the same endpoints.
type peers struct {
	pods []discovery.Endpoint // of the client's own Service
	zone string               // the client's own, empty if unknown
}

// A choice is what Choose said last of a level, and what that follows from.
type choice struct {
	indexes []int
	of      []discovery.Endpoint
	peers   *peers
	zone    string // that of the peers who count, empty if all do
}

// NewChooser returns the Chooser of a client that connects to size endpoints of
// the target, or to all if size is 0. Own is a subscription to the Service that
// the client itself belongs to, nil if that is unknown. Both are the Chooser's
// to close.
func NewChooser(target, own *discovery.Subscription, size int) *Chooser {
	c := &Chooser{Subscription: target, size: size, close: func() {}, peers: new(peers), wake: func() {}}
	c.known = c.peers
	if c.client = os.Getenv("POD_NAME"); c.client == "" {
		c.client, _ = os.Hostname() // clients without a name share a subset
	}
	if own != nil {
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		c.close = func() {
			cancel()
			<-ended
			own.Close()
		}
		go func() {
			defer close(ended)
			c.follow(ctx, own)
		}()
	}
	return c
}

// Close closes the subscriptions and waits, like that of a Subscription.
func (c *Chooser) Close() {
	c.Subscription.Close()
	c.close()
}

// Next is that of the target's Subscription, but returns the last View once more
// when the peers have changed, at most once a second. Changed tells whether there
// is something to choose anew: another Snapshot, or other peers.
func (c *Chooser) Next(ctx context.Context) (view discovery.View, changed bool, err error) {
	for {
		wait, wake := context.WithCancel(ctx)
		c.mu.Lock()
		c.wake = wake
		known := c.peers
		c.mu.Unlock()
		if known != c.known && c.view.Snapshot != nil {
			wake()
			c.known = known
			return c.view, true, nil
		}
		view, err = c.Subscription.Next(wait)
		woken := wait.Err() != nil && ctx.Err() == nil
		wake()
		if err == nil {
			changed = view.Snapshot != c.view.Snapshot
			c.view, c.known = view, known
			return view, changed, nil
		}
		if !woken {
			return view, false, err
		}
	}
}

// Choose returns the client's endpoints out of all levels of topology, of each
// level a subset of its own. It is for the goroutine that calls Next. A level
// that has the members that it had the last time costs next to nothing.
func (c *Chooser) Choose(levels [][]discovery.Endpoint) []discovery.Endpoint {
	if len(levels) == 1 {
		return c.choose(0, levels) // a level's own slice if that is all of it
	}
	var chosen []discovery.Endpoint
	for i := range levels {
		chosen = append(chosen, c.choose(i, levels)...)
	}
	return chosen
}

func (c *Chooser) choose(i int, levels [][]discovery.Endpoint) []discovery.Endpoint {
	level := levels[i]
	if c.size <= 0 || len(level) <= c.size {
		return level
	}
	for len(c.choices) <= i {
		c.choices = append(c.choices, choice{})
	}
	last, zone := &c.choices[i], ""
	if c.known.alone(level, len(levels) > 1) {
		zone = c.known.zone
	}
	if last.peers != c.known || last.zone != zone || !sameMembers(last.of, level) {
		last.indexes = bounded(level, peersIn(zone, c.known.pods), c.client, c.size)
	}
	last.of, last.peers, last.zone = level, c.known, zone
	return pick(level, last.indexes)
}

// alone reports whether only the clients of the own zone choose from a level:
// hints give it to them, or levels divide the endpoints by zone.
func (p *peers) alone(level []discovery.Endpoint, divided bool) bool {
	for i := range level {
		e := &level[i]
		if !slices.Contains(e.Hints.Zones, p.zone) && (!divided || e.Zone != p.zone) {
			return false
		}
	}
	return p.zone != ""
}

// sameMembers reports whether a and b are the same endpoints, in whatever state.
func sameMembers(a, b []discovery.Endpoint) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a, b := &a[i], &b[i]; a.Addr != b.Addr || a.UID != b.UID || a.Pod != b.Pod || a.Zone != b.Zone {
			return false
		}
	}
	return true
}

// follow keeps the peers up to date until ctx ends. A read that fails leaves
// them as they were.
func (c *Chooser) follow(ctx context.Context, own *discovery.Subscription) {
	var last []discovery.Endpoint
	for {
		view, err := own.Next(ctx)
		if err != nil {
			return
		}
		if view.Snapshot == nil {
			continue
		}
		if pods := view.Snapshot.Endpoints; !sameMembers(pods, last) {
			last = pods
			c.meet(pods)
		}
		select {
		case <-time.After(calm):
		case <-ctx.Done():
			return
		}
	}
}

// meet makes the pods the peers, and wakes Next.
func (c *Chooser) meet(pods []discovery.Endpoint) {
	now := &peers{pods: pods}
	for i := range pods {
		if pods[i].Pod == c.client {
			now.zone = pods[i].Zone
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.peers = now
	c.wake()
}
