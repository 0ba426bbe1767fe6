package dialbalancer_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/dialbalancer"
	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/selection"
)

func TestConnectionsAreSharedOutEvenly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster("a", "b", "c")
		d := newDialer(t, c, dialbalancer.Config{})
		var conns []*dialbalancer.Conn
		for range 12 {
			conns = append(conns, dial(t, d))
		}
		for name, n := range c.opens() {
			if n != 4 {
				t.Errorf("%s has %d connections of 12, want 4", name, n)
			}
		}
		for _, conn := range conns {
			if conn.Endpoint().Pod == "a" {
				conn.Close()
			}
		}
		for range 3 { // the pod with the fewest gets the next ones
			if name := dial(t, d).Endpoint().Pod; name != "a" {
				t.Errorf("the connection went to %s, want a", name)
			}
		}
	})
}

func TestAPodThatRefusesIsPassedOverUntilItAccepts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster("a", "b", "c")
		b := c.get("b")
		b.with(refuse)
		d := newDialer(t, c, dialbalancer.Config{})
		for range 20 {
			dial(t, d)
		}
		if n := b.state().dials; n != 1 {
			t.Errorf("20 calls dialed the pod that refuses %d times, want once", n)
		}
		time.Sleep(time.Minute) // of virtual time
		if n := b.state().dials; n < 5 || n > 15 {
			t.Errorf("within a minute the pod was dialed %d times, want 5 to 15", n)
		}
		b.with(accept)
		time.Sleep(16 * time.Second) // of virtual time, longer than the longest back-off
		if name := dial(t, d).Endpoint().Pod; name != "b" {
			t.Errorf("the connection went to %s, want b, which has none", name)
		}
		before := b.state().dials
		time.Sleep(time.Hour) // of virtual time
		if n := b.state().dials - before; n != 0 {
			t.Errorf("a pod that can be reached was dialed %d times by nobody", n)
		}
	})
}

func TestACallTriesThreePodsAtMostAndOneWhenNoneIsFit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster("a", "b", "c", "d", "e")
		for _, p := range c.pods {
			p.with(refuse)
		}
		d := newDialer(t, c, dialbalancer.Config{})
		for i, want := range []int{3, 5, 6, 7, 8} {
			_, err := d.DialContext(t.Context(), "tcp", address)
			var op *net.OpError
			if !errors.Is(err, syscall.ECONNREFUSED) || !errors.As(err, &op) || op.Op != "dial" {
				t.Fatalf("got %v, want a dial error that says that the connection was refused", err)
			}
			var own *balancer.CallError
			if !errors.As(err, &own) || own.Target != "k8s:///redis.shop:redis" || own.Endpoint.Pod == "" || i == 0 && own.Attempts != 3 {
				t.Errorf("got %#v, want a CallError with its target, endpoint and attempts", own)
			}
			if i == 0 && !strings.HasPrefix(err.Error(), "dial tcp redis.shop:6379: k8s:///redis.shop:redis: attempt 3, to 10.0.0.") {
				t.Errorf("the error is %q", err)
			}
			if n := c.dials(); n != want {
				t.Errorf("after call %d there were %d dials, want %d", i+1, n, want)
			}
			time.Sleep(10 * time.Millisecond) // of virtual time, in which nothing is dialed again yet
		}
	})
}

func TestAClientThatDialsAgainGetsAnotherPod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster("a", "b", "c", "d", "e")
		for _, p := range c.pods {
			p.with(func(p *pod) { p.silent = true })
		}
		d := newDialer(t, c, dialbalancer.Config{})
		for range 5 { // as go-redis does, with a deadline of its own for each
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if _, err := d.DialContext(ctx, "tcp", address); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v, want the deadline", err)
			}
			cancel()
		}
		for _, p := range c.pods {
			if n := p.state().dials; n < 1 {
				t.Errorf("%s was not tried", p.Pod)
			}
		}
	})
}

func TestADialThatItsCallerGivesUpIsHeldAgainstNoPod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster("a")
		a := c.get("a")
		a.with(func(p *pod) { p.silent = true })
		d := newDialer(t, c, dialbalancer.Config{})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, err := d.DialContext(ctx, "tcp", address); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want that it was canceled", err)
		}
		hurried, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err := d.DialContext(hurried, "tcp", address)
		var timeout net.Error
		if !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("got %v, want a time-out", err)
		}
		if s := statusOf(t); s.Backends[0].State != balancer.StateFit {
			t.Errorf("the pod is %s, want fit", s.Backends[0].State)
		}
	})
}

// statusOf returns the status of the one Dialer that there is.
func statusOf(t *testing.T) balancer.Status {
	t.Helper()
	for _, s := range balancer.Statuses() {
		if s.Adapter == "dial" && s.Target == target {
			return s
		}
	}
	t.Fatal("there is no status of the Dialer")
	return balancer.Status{}
}

func TestStatusesShowTheConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster("a", "b")
		d := newDialer(t, c, dialbalancer.Config{})
		var conns []*dialbalancer.Conn
		for range 4 {
			conns = append(conns, dial(t, d))
		}
		for _, b := range statusOf(t).Backends {
			if b.InFlight != 2 {
				t.Errorf("%s has %d in flight, want 2", b.Pod, b.InFlight)
			}
		}
		for _, conn := range conns {
			mustAsk(t, conn)
			conn.Close()
			conn.Close()
		}
		s := statusOf(t)
		for _, b := range s.Backends {
			if b.InFlight != 0 {
				t.Errorf("%s has %d in flight, want 0", b.Pod, b.InFlight)
			}
		}
		if n := s.Requests[""][1]; n != 4 { // health.Success
			t.Errorf("%v connections have ended, want 4 successes", s.Requests)
		}
	})
}

func TestTheAddressSaysWhatIsDialed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster("a", "b")
		d := newDialer(t, c, dialbalancer.Config{})
		for _, test := range []struct{ network, address, pod string }{
			{"tcp", "redis.shop:6379", "any"},
			{"tcp", "redis.shop:1", "any"}, // the port is the target's
			{"tcp4", "redis.shop.svc:6379", "any"},
			{"tcp", "Redis.Shop.svc.cluster.local:6379", "any"},
			{"tcp", "10.96.0.7:6379", "any"}, // the cluster IP
			{"tcp", "10.0.0.1:6379", "a"},
			{"tcp", "[::ffff:10.0.0.2]:6379", "b"},
			{"tcp", "redis:6379", ""}, // this client's namespace is not known
			{"tcp", "redis.web:6379", ""},
			{"tcp", "redis.shop.example.com:6379", ""},
			{"tcp", "sentinel.shop:26379", ""},
			{"tcp", "10.96.0.7:80", ""},
			{"tcp", "10.0.0.1:80", ""},
			{"tcp", "10.0.0.3:6379", ""},
			{"tcp", "redis.shop", ""},
			{"tcp", "", ""},
			{"tcp", ":6379", ""},
			{"udp", "redis.shop:6379", ""},
			{"unix", "/run/redis.sock", ""},
		} {
			c.mu.Lock()
			c.foreign = nil
			c.mu.Unlock()
			conn, err := d.DialContext(t.Context(), test.network, test.address)
			switch {
			case test.pod == "":
				if err == nil || len(c.foreign) != 1 || c.foreign[0] != test.address {
					t.Errorf("%s %q: got %v and dials of %q, want one of the address", test.network, test.address, err, c.foreign)
				}
			case err != nil:
				t.Errorf("%s %q: %v", test.network, test.address, err)
			default:
				if name := mustAsk(t, conn); name != test.pod && test.pod != "any" {
					t.Errorf("%s %q: connected to %s, want %s", test.network, test.address, name, test.pod)
				}
			}
		}
	})
}

func TestAKnownPodsAddressIsThatPod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster("a", "b")
		d := newDialer(t, c, dialbalancer.Config{})
		for range 3 {
			conn, err := d.DialContext(t.Context(), "tcp", "10.0.0.1:6379")
			if err != nil {
				t.Fatal(err)
			}
			mustAsk(t, conn)
		}
		for range 3 { // they count
			if name := dial(t, d).Endpoint().Pod; name != "b" {
				t.Errorf("the connection went to %s, want b", name)
			}
		}
		c.get("a").with(refuse)
		_, err := d.DialContext(t.Context(), "tcp", "10.0.0.1:6379")
		var own *balancer.CallError
		if !errors.As(err, &own) || own.Endpoint.Pod != "a" || own.Attempts != 1 {
			t.Errorf("got %v, want a CallError of a", err)
		}
	})
}

func TestADualStackPodIsReachedByItsOtherAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		p := c.add("a")
		p.AltAddr = p.Addr
		p.Addr = netip.MustParseAddrPort("[2001:db8::1]:6379") // which nobody reaches
		c.publish()
		d := newDialer(t, c, dialbalancer.Config{})
		if name := mustAsk(t, dial(t, d)); name != "a" {
			t.Errorf("connected to %s", name)
		}
	})
}

func TestADialWaitsForTheFirstEndpoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster("a")
		c.snapshot = nil
		d := newDialer(t, c, dialbalancer.Config{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := d.DialContext(ctx, "tcp", address)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "while waiting for the endpoints of k8s:///redis.shop:redis") {
			t.Errorf("got %v, want what it waited for", err)
		}
		time.AfterFunc(time.Second, func() { c.publish() })
		mustAsk(t, dial(t, d))
	})
}

func TestWhatDiscoverySaysIsInTheErrorOfADial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		d := newDialer(t, c, dialbalancer.Config{})
		_, err := d.DialContext(t.Context(), "tcp", address)
		var op *net.OpError
		if !errors.Is(err, discovery.ErrNoEndpoints) || !errors.As(err, &op) || op.Op != "dial" {
			t.Errorf("got %v, want a dial error with discovery.ErrNoEndpoints", err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.err = fmt.Errorf("no: %w", discovery.ErrForbidden)
		d := newDialer(t, c, dialbalancer.Config{})
		if _, err := d.DialContext(t.Context(), "tcp", address); !errors.Is(err, discovery.ErrForbidden) {
			t.Errorf("got %v, want discovery.ErrForbidden", err)
		}
	})
}

func TestATraceHasTheAttemptsOfADial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster("a", "b")
		c.get("a").with(refuse)
		d := newDialer(t, c, dialbalancer.Config{})
		var attempts []balancer.Attempt
		for len(attempts) < 2 { // until a is drawn first
			var trace balancer.Trace
			conn, err := d.DialContext(balancer.WithTrace(t.Context(), &trace), "tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			mustAsk(t, conn)
			attempts = trace.Attempts()
		}
		if first, second := attempts[0], attempts[1]; first.Backend.Pod != "a" || first.Err == nil || second.Backend.Pod != "b" || second.Reason != balancer.NotSent || second.Err != nil {
			t.Errorf("the attempts are %+v", attempts)
		}
	})
}

func TestKeysGoToOnePod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster("a", "b", "c", "d")
		d := newDialer(t, c, dialbalancer.Config{Balancer: balancer.Config{Policy: balancer.RingHash, BoundedLoad: 1e9}})
		var pods []string
		for range 8 {
			conn, err := d.DialContext(balancer.WithKey(t.Context(), "user 7"), "tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			pods = append(pods, mustAsk(t, conn))
		}
		if slices.Sort(pods); pods[0] != pods[7] {
			t.Errorf("connections with one key went to %v", pods)
		}
	})
}

func TestAConfigThatIsImpossibleIsAnErrorThatNamesTheField(t *testing.T) {
	for field, config := range map[string]dialbalancer.Config{
		"Balancer":              {Balancer: balancer.Config{Policy: "best"}},
		"Selection.SubsetSize":  {Selection: selection.Config{SubsetSize: -1}},
		"Selection.SubsetPeers": {Selection: selection.Config{SubsetPeers: "shop"}},
		"Removal":               {Removal: 3},
		"DrainTimeout":          {DrainTimeout: -1},
	} {
		if _, err := dialbalancer.New(target, config); err == nil || !strings.Contains(err.Error(), "dialbalancer: Config."+field+": ") {
			t.Errorf("%s: got %v", field, err)
		}
	}
	if _, err := dialbalancer.New("redis.shop:6379", dialbalancer.Config{}); err == nil {
		t.Error("a target without a scheme is no error")
	}
}
