//go:build linux

package interop

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
)

// A pod is a server under test.
type pod struct {
	addr string
	// disturb reloads the server, or stops it and starts it again, and returns
	// when that is done. A pod that is stopped calls gone before it stops to listen,
	// and back when it listens again; both may be nil.
	disturb func(gone, back func())
}

// A way is a path to pods from a certain distance.
type way struct {
	distance time.Duration
	proxies  []*delay // one for each pod; none where there is no distance
	addrs    []string // one for each pod, as the clients see them
}

func newWay(t *testing.T, pods []*pod, distance time.Duration) *way {
	w := &way{distance: distance}
	for _, p := range pods {
		if distance == 0 {
			w.addrs = append(w.addrs, p.addr)
			continue
		}
		d := newDelay(t, p.addr, distance)
		w.proxies = append(w.proxies, d)
		w.addrs = append(w.addrs, d.addr.String())
	}
	return w
}

func (w *way) target() string { return "static:///" + strings.Join(w.addrs, ",") }

// A crowd is those who send requests during a test, one after the other each.
type crowd struct {
	stop    chan struct{}
	working sync.WaitGroup
	done    []*atomic.Int64 // requests of each that have ended
}

// add adds one who sends requests by calling ask, with pauses. It is called
// before the first pod is disturbed.
func (c *crowd) add(ask func()) {
	if c.stop == nil {
		c.stop = make(chan struct{})
	}
	done := new(atomic.Int64)
	c.done = append(c.done, done)
	c.working.Go(func() {
		for {
			ask()
			done.Add(1)
			select {
			case <-c.stop:
				return
			case <-time.After(rand.N(10 * time.Millisecond)):
			}
		}
	})
}

// settle waits until all have ended what they are at, and another request. However
// slow the machine is, no request meets more than one of the disturbances then.
func (c *crowd) settle(t *testing.T) {
	var before []int64
	for _, done := range c.done {
		before = append(before, done.Load())
	}
	deadline := time.Now().Add(2 * patience)
	for i, done := range c.done {
		for ; done.Load() < before[i]+2; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Errorf("a request has not ended within %v", 2*patience)
				return
			}
		}
	}
}

// end waits until all have gone.
func (c *crowd) end() {
	close(c.stop)
	c.working.Wait()
}

// disturb disturbs one pod after the other, each as often as rounds says, with
// time for the clients to get over it.
func (c *crowd) disturb(t *testing.T, pods []*pod, ways []*way) {
	const pause = 400 * time.Millisecond
	<-time.After(2 * pause) // retries have a budget, which grows with the requests
	c.settle(t)
	for range rounds(t) {
		for i, p := range pods {
			if p.disturb != nil {
				p.disturb(
					func() { forEachProxy(ways, i, (*delay).refuse) },
					func() {
						forEachProxy(ways, i, func(d *delay) {
							if err := d.accept(); err != nil {
								t.Error(err)
							}
						})
					})
			}
			<-time.After(pause)
			c.settle(t)
		}
	}
}

func forEachProxy(ways []*way, pod int, f func(d *delay)) {
	for _, w := range ways {
		if w.proxies != nil {
			f(w.proxies[pod])
		}
	}
}

// A tally counts what became of the requests of one kind by one client.
type tally struct {
	mu     sync.Mutex
	sent   int
	failed int
	texts  map[string]int // failures by their text
}

func (c *tally) add(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent++
	if err == nil {
		return
	}
	c.failed++
	if c.texts == nil {
		c.texts = map[string]int{}
	}
	c.texts[withoutAddresses(err.Error())]++
}

func (c *tally) String() string { return fmt.Sprintf("%d of %d", c.failed, c.sent) }

// failures lists the failures by their text, the most frequent first.
func (c *tally) failures() string {
	var lines []string
	for text, n := range c.texts {
		lines = append(lines, fmt.Sprintf("%5d × %s", n, text))
	}
	slices.Sort(lines)
	slices.Reverse(lines)
	if len(lines) > 5 {
		lines = append(lines[:5], "      …")
	}
	return strings.Join(lines, "\n")
}

// withoutAddresses replaces digits, so that texts that differ by ports and
// numbers of streams alone are one.
func withoutAddresses(text string) string {
	var b strings.Builder
	digits := false
	for _, r := range text {
		isDigit := r >= '0' && r <= '9'
		if !isDigit {
			b.WriteRune(r)
		} else if !digits {
			b.WriteByte('#')
		}
		digits = isDigit
	}
	return b.String()
}

// compare fails the test if ours failed where nobody needs to fail, or more
// often than theirs. Where failures are a matter of chance, which of the two has
// more is, too, so more is what chance does not explain: 4 standard deviations of
// the difference of two Poisson variables. What fails is what is on its way when a
// pod is disturbed, as much with both clients, whatever they send in between.
func compare(t *testing.T, what string, lossless bool, ours, theirs *tally) {
	t.Helper()
	t.Logf("%s: sidestep %v failed, peer %v", what, ours, theirs)
	if ours.sent == 0 || theirs.sent == 0 {
		t.Errorf("%s: a client has sent nothing: sidestep %v, peer %v", what, ours, theirs)
		return
	}
	limit := float64(theirs.failed) + 4*math.Sqrt(2*float64(theirs.failed)+1)
	switch {
	case ours.failed == 0:
	case lossless:
		t.Errorf("%s: %v requests failed, none need to:\n%s", what, ours, ours.failures())
	case float64(ours.failed) > limit:
		t.Errorf("%s: %v requests failed, and %v of the peer's:\n%s", what, ours, theirs, ours.failures())
	}
	if theirs.failed > 0 {
		t.Logf("%s: failures of the peer:\n%s", what, theirs.failures())
	}
}

// needless are parts of the texts of failures that are never necessary: the server
// has said that it did not process the request, or has not even got it.
var needless = []string{
	"graceful shutdown GOAWAY", "REFUSED_STREAM", "client conn not usable", "connection refused", "context deadline exceeded",
}

func checkNeedless(t *testing.T, what string, ours *tally) {
	t.Helper()
	for text, n := range ours.texts {
		for _, part := range needless {
			if strings.Contains(text, part) {
				t.Errorf("%s: %d failures that are never necessary: %s", what, n, text)
			}
		}
	}
}

// checkBalancer checks what the balancer of a target thinks of its backends
// after a test in which all were well.
func checkBalancer(t *testing.T, target, adapter, what string) {
	t.Helper()
	// A request that has its answer may still be about to end.
	inFlight := func(s balancer.Status) (n int64) {
		for i := range s.Backends {
			n += s.Backends[i].InFlight
		}
		return n
	}
	s := statusOf(t, target, adapter)
	for deadline := time.Now().Add(5 * time.Second); inFlight(s) > 0 && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		s = statusOf(t, target, adapter)
	}
	if n := inFlight(s); n != 0 {
		t.Errorf("%s: %d requests are in flight after the last has ended", what, n)
	}
	ejections, unreachable := 0, 0
	for _, n := range s.Counts.Ejections {
		ejections += int(n)
	}
	var told []string
	for _, e := range s.Events {
		switch e.Kind {
		case balancer.EventUnreachable:
			unreachable++
		case balancer.EventEjected:
			told = append(told, fmt.Sprintf("%s: %s", e.Backend, e.Detail))
		}
	}
	if ejections != 0 || len(told) != 0 {
		t.Errorf("%s: %d ejections (%v), though the servers were well: %s", what, ejections, s.Counts.Ejections, strings.Join(told, "; "))
	}
	t.Logf("%s: sidestep: ejections %d, unreachable %d times, retries %v, fail-opens %d", what, ejections, unreachable, s.Counts.Retries, s.Counts.FailOpens)
}

func statusOf(t *testing.T, target, adapter string) balancer.Status {
	t.Helper()
	for _, s := range balancer.Statuses() {
		if s.Target == target && s.Adapter == adapter {
			return s
		}
	}
	t.Fatalf("no balancer for %s over %s", target, adapter)
	return balancer.Status{}
}
