package dialbalancer_test

import (
	"errors"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/dialbalancer"
	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/health"
)

// A pool is a client that keeps connections and looks at each before it reuses it, as
// go-redis does. It reuses the one that has been idle for longest.
type pool struct {
	t        *testing.T
	dialer   *dialbalancer.Dialer
	idle     []net.Conn
	replaced int
}

func newPool(t *testing.T, d *dialbalancer.Dialer, size int) *pool {
	p := &pool{t: t, dialer: d}
	for range size {
		p.idle = append(p.idle, dial(t, d))
	}
	return p
}

// use has each connection do something, once.
func (p *pool) use() {
	p.t.Helper()
	for i, c := range p.idle {
		if _, err := c.(syscall.Conn).SyscallConn(); err != nil {
			c.Close()
			p.idle[i] = dial(p.t, p.dialer)
			p.replaced++
		}
		mustAsk(p.t, p.idle[i])
	}
}

// work uses the connections all the time.
func (p *pool) work(d time.Duration) {
	p.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); {
		p.use()
		time.Sleep(50 * time.Millisecond) // of virtual time
	}
}

func (p *pool) close() {
	for _, c := range p.idle {
		c.Close()
	}
}

func TestARemovedPodsConnectionsAreReplacedWithoutAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster("a", "b", "c")
		d := newDialer(t, c, dialbalancer.Config{})
		p := newPool(t, d, 6)
		c.publish(c.get("b"), c.get("c"))
		p.work(100 * time.Millisecond)
		if opens := c.opens(); opens["a"] != 0 || opens["b"] != 3 || opens["c"] != 3 || p.replaced != 2 {
			t.Errorf("the connections are %v after %d were replaced, want 3 each after 2", opens, p.replaced)
		}
	})
}

func TestARemovedPodsConnectionRefusesToBeUsedAfterASecondOfSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster("a", "b")
		d := newDialer(t, c, dialbalancer.Config{})
		conn := dial(t, d)
		mustAsk(t, conn)
		c.publish(c.get(other(conn.Endpoint().Pod)))
		for range 20 { // a transaction, say
			synctest.Wait()
			mustAsk(t, conn)
			time.Sleep(900 * time.Millisecond) // of virtual time
		}
		time.Sleep(100 * time.Millisecond) // of virtual time
		n, err := conn.Write([]byte("late\n"))
		if n != 0 || !errors.Is(err, dialbalancer.ErrRemoved) || !errors.Is(err, net.ErrClosed) {
			t.Errorf("wrote %d bytes and got %v, want none and ErrRemoved", n, err)
		}
	})
}

func other(name string) string {
	if name == "a" {
		return "b"
	}
	return "a"
}

func TestConnectionsCloseAsConfigured(t *testing.T) {
	for _, test := range []struct {
		name    string
		removal dialbalancer.Removal
		within  time.Duration // after which a read of the client fails
	}{
		{"on next use", dialbalancer.CloseOnNextUse, 30 * time.Second},
		{"at once", dialbalancer.CloseAtOnce, 0},
		{"after the drain timeout", dialbalancer.CloseAfterDrainTimeout, 30 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster("a", "b")
				d := newDialer(t, c, dialbalancer.Config{Removal: test.removal})
				conn := dial(t, d)
				mustAsk(t, conn)
				removed := time.Now()
				c.publish(c.get(other(conn.Endpoint().Pod)))
				if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, dialbalancer.ErrRemoved) {
					t.Errorf("got %v, want ErrRemoved", err)
				}
				if after := time.Since(removed); after != test.within {
					t.Errorf("the connection was closed after %v, want %v", after, test.within)
				}
			})
		})
	}
}

func TestUntilTheDrainTimeoutAConnectionCanBeUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster("a", "b")
		d := newDialer(t, c, dialbalancer.Config{Removal: dialbalancer.CloseAfterDrainTimeout, DrainTimeout: time.Minute})
		conn := dial(t, d)
		c.publish(c.get(other(conn.Endpoint().Pod)))
		time.Sleep(59 * time.Second) // of virtual time
		mustAsk(t, conn)
		if !conn.Stale() {
			t.Error("the connection is not stale, though its pod has been removed")
		}
		time.Sleep(2 * time.Second) // of virtual time
		if _, err := ask(conn); !errors.Is(err, dialbalancer.ErrRemoved) {
			t.Errorf("got %v, want ErrRemoved", err)
		}
	})
}

func TestAPodThatIsNotReadyKeepsItsConnectionsAndTakesThemBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster("a", "b")
		d := newDialer(t, c, dialbalancer.Config{})
		conn := dial(t, d)
		p := c.get(conn.Endpoint().Pod)
		p.with(func(p *pod) { p.Ready = false })
		c.publish()
		time.Sleep(time.Hour) // of virtual time
		p.with(func(p *pod) { p.Ready = true })
		c.publish()
		synctest.Wait()
		mustAsk(t, conn)
		p.with(func(p *pod) { p.Ready, p.Terminating = false, true })
		c.publish()
		time.Sleep(31 * time.Second) // of virtual time
		if _, err := ask(conn); !errors.Is(err, dialbalancer.ErrRemoved) {
			t.Errorf("got %v, want ErrRemoved", err)
		}
	})
}

func TestADialToAPodThatIsRemovedMeanwhileGoesToAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster("a")
		hangs := make(chan struct{})
		c.get("a").with(func(p *pod) { p.hangs = hangs })
		d := newDialer(t, c, dialbalancer.Config{})
		time.AfterFunc(time.Second, func() {
			c.publish(c.add("b"))
			synctest.Wait()
			close(hangs)
		})
		if name := mustAsk(t, dial(t, d)); name != "b" {
			t.Errorf("the connection went to %s, want b", name)
		}
	})
}

func TestAfterAScaleUpConnectionsAreSharedOutAnew(t *testing.T) {
	for _, test := range []struct{ conns, before, after int }{{12, 3, 6}, {30, 3, 6}, {10, 3, 6}, {24, 2, 9}} {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster("a", "b", "c", "d", "e", "f", "g", "h", "i")
			var pods []*pod
			for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i"} {
				pods = append(pods, c.get(name))
			}
			c.publish(pods[:test.before]...)
			d := newDialer(t, c, dialbalancer.Config{})
			p := newPool(t, d, test.conns)
			for i := test.before; i <= test.after; i++ { // they become ready one by one
				c.publish(pods[:i]...)
				p.work(100 * time.Millisecond)
			}
			p.work(9 * time.Second)
			largest, mean := 0, float64(test.conns)/float64(test.after)
			for _, n := range c.opens() {
				largest = max(largest, n)
			}
			if share := float64(largest) / mean; share > 1.3 && float64(largest) >= mean+1 {
				t.Errorf("%d connections to %d pods: %v, the largest share is %.2f times the mean", test.conns, test.after, c.opens(), share)
			}
			moved := p.replaced
			p.work(20 * time.Second)
			if p.replaced != moved {
				t.Errorf("%d connections were replaced though they were shared out", p.replaced-moved)
			}
			p.close()
		})
	}
}

func TestConnectionsThatAreTooManyAreMarkedOverTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster("a", "b")
		c.publish(c.get("a"))
		d := newDialer(t, c, dialbalancer.Config{RebalanceOver: 10 * time.Second})
		p := newPool(t, d, 20)
		c.publish()
		p.work(5 * time.Second)
		if p.replaced < 2 || p.replaced > 7 {
			t.Errorf("after half of the time %d of 10 were replaced", p.replaced)
		}
		p.close()
	})
}

func TestConnectionsStayWhereTheyAreIfTheConfigSaysSo(t *testing.T) {
	for name, config := range map[string]dialbalancer.Config{
		"rebalance over":   {RebalanceOver: -1},
		"a policy of keys": {Balancer: balancer.Config{Policy: balancer.Maglev}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster("a", "b", "c", "d")
				c.publish(c.get("a"))
				d := newDialer(t, c, config)
				p := newPool(t, d, 8)
				c.publish()
				p.work(20 * time.Second)
				if p.replaced != 0 {
					t.Errorf("%d connections were replaced", p.replaced)
				}
				p.close()
			})
		})
	}
}

func TestConnectionsOfAPodThatIsWrongAreClosedOnDemand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster("a", "b")
		d := newDialer(t, c, dialbalancer.Config{})
		p := newPool(t, d, 6)
		if n := d.CloseConns(func(e discovery.Endpoint) bool { return e.Pod == "a" }); n != 3 {
			t.Errorf("%d connections were closed, want 3", n)
		}
		p.use()
		if opens := c.opens(); p.replaced != 3 || opens["a"] != 3 || opens["b"] != 3 {
			t.Errorf("the connections are %v after %d were replaced, want 3 each after 3", opens, p.replaced)
		}
	})
}

func TestAPodOfWhichFailuresAreReportedGetsNoNewConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster("a", "b", "c")
		d := newDialer(t, c, dialbalancer.Config{})
		p := newPool(t, d, 6)
		for range 20 {
			for _, conn := range p.idle {
				own, _ := dialbalancer.ConnOf(conn)
				outcome := health.Success
				if own.Endpoint().Pod == "a" {
					outcome = health.Failure
				}
				own.Report(outcome)
			}
		}
		for range 6 {
			if name := dial(t, d).Endpoint().Pod; name == "a" {
				t.Error("the pod that fails got a connection")
			}
		}
		if s := statusOf(t); s.Backends[0].State != balancer.StateEjected {
			t.Errorf("the pod that fails is %s", s.Backends[0].State)
		}
	})
}

func TestAPodThatEndsConnectionsBeforeItSaysAnythingIsEjected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster("a", "b", "c", "d")
		c.get("a").with(func(p *pod) { p.drops = true })
		d := newDialer(t, c, dialbalancer.Config{})
		failures := 0
		for range 100 {
			conn := dial(t, d)
			if _, err := ask(conn); err != nil {
				failures++
				conn.Close()
			}
		}
		if failures > 10 {
			t.Errorf("%d of 100 connections went to the pod that ends them", failures)
		}
	})
}

func TestAPodThatEndsConnectionsAfterItsAnswerIsFit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster("a", "b")
		c.get("a").with(func(p *pod) { p.once = true })
		d := newDialer(t, c, dialbalancer.Config{})
		for range 50 {
			conn := dial(t, d)
			mustAsk(t, conn)
			if conn.Endpoint().Pod == "a" {
				conn.Read(make([]byte, 1))
				conn.Close()
			}
		}
		s := statusOf(t)
		if s.Backends[0].State == balancer.StateEjected || s.Requests[""][health.Failure] > 0 {
			t.Errorf("the pod is %s, and the connections ended with %v", s.Backends[0].State, s.Requests)
		}
	})
}

func TestAConnectionOnWhichNothingCameIsNoSuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDialer(t, newCluster("a"), dialbalancer.Config{})
		dial(t, d).Close()
		if requests := statusOf(t).Requests[""]; requests[health.Neutral] != 1 || requests.Sum() != 1 {
			t.Errorf("the connections ended with %v", requests)
		}
	})
}

func TestAPodThatNetworkSaysIsGoneIsOutUntilItIsReached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster("a", "b")
		d := newDialer(t, c, dialbalancer.Config{})
		conn := dial(t, d)
		p := c.get(conn.Endpoint().Pod)
		for range 6 {
			dial(t, d)
		}
		for _, own := range []*dialbalancer.Conn{dial(t, d), dial(t, d)} { // so that p has the fewest
			if own.Endpoint().Pod == p.Pod {
				own.Close()
			}
		}
		p.with(func(p *pod) { p.broken, p.refuses = syscall.ETIMEDOUT, refused })
		if _, err := ask(conn); !errors.Is(err, syscall.ETIMEDOUT) {
			t.Errorf("got %v", err)
		}
		conn.Close()
		before := p.state().dials
		if name := dial(t, d).Endpoint().Pod; name == p.Pod || p.state().dials != before {
			t.Errorf("the connection went to %s", name)
		}
		p.with(func(p *pod) { p.broken, p.refuses = nil, nil })
		time.Sleep(time.Minute) // of virtual time
		if name := dial(t, d).Endpoint().Pod; name != p.Pod {
			t.Errorf("the connection went to %s, want %s, which is back and has none", name, p.Pod)
		}
	})
}
