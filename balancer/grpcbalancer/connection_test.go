package grpcbalancer_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	gbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"

	"github.com/sidestep-lb/sidestep/balancer"
)

var errRefused = errors.New("connection refused")

// pass lets virtual time go by.
func pass(d time.Duration) {
	time.Sleep(d) // of virtual time
	synctest.Wait()
}

// state is the last one that the channel was told.
func (c *channel) state() connectivity.State {
	_, s := c.heard()
	return s.ConnectivityState
}

// picks returns the address that the next request goes to.
func (c *channel) picks(t *testing.T) string {
	t.Helper()
	_, s := c.heard()
	result, err := s.Picker.Pick(gbalancer.PickInfo{})
	if err != nil {
		t.Fatalf("pick: %v", err)
	}
	result.Done(gbalancer.DoneInfo{})
	return result.SubConn.(*subConn).addr
}

func addrs(subConns []*subConn) []string {
	var list []string
	for _, sc := range subConns {
		list = append(list, sc.addr)
	}
	return list
}

const v4, v6 = "10.0.0.1:80", "[fd00::1]:80"

func TestTheSecondAddressOfAPodIsTriedAfterAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, cc := buildFor(t, "{}", []string{v4, v6})
		defer b.Close()
		pass(249 * time.Millisecond)
		if got := addrs(cc.made()); !slices.Equal(got, []string{v4}) {
			t.Fatalf("connected to %v within a quarter of a second", got)
		}
		pass(time.Millisecond)
		if got := addrs(cc.made()); !slices.Equal(got, []string{v4, v6}) {
			t.Fatalf("connected to %v after a quarter of a second", got)
		}
		first, second := cc.made()[0], cc.made()[1]
		second.becomes(connectivity.Connecting, nil)
		second.becomes(connectivity.Ready, nil)
		pass(time.Second)
		if got := cc.picks(t); got != v6 || cc.state() != connectivity.Ready {
			t.Errorf("picked %s in state %v", got, cc.state())
		}
		if first.shutdown.Load() != 1 || second.shutdown.Load() != 0 {
			t.Errorf("shut down %d and %d times, want the first address alone", first.shutdown.Load(), second.shutdown.Load())
		}
		first.becomes(connectivity.Ready, nil) // too late
		if got := cc.picks(t); got != v6 {
			t.Errorf("picked %s after the first address, given up, became ready", got)
		}
	})
}

func TestTheSecondAddressOfAPodIsTriedWhenTheFirstFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, cc := buildFor(t, "{}", []string{v4, v6})
		defer b.Close()
		cc.made()[0].becomes(connectivity.TransientFailure, errRefused)
		if got := addrs(cc.made()); !slices.Equal(got, []string{v4, v6}) || cc.state() != connectivity.Connecting {
			t.Fatalf("connected to %v, in state %v", got, cc.state())
		}
		cc.made()[1].becomes(connectivity.TransientFailure, errRefused)
		if cc.state() != connectivity.TransientFailure {
			t.Errorf("after both have failed: %v", cc.state())
		}
		pass(time.Minute)
		if n := len(cc.made()); n != 2 {
			t.Errorf("%d connections for two addresses", n)
		}
		cc.made()[0].becomes(connectivity.Idle, nil) // its backoff is over
		cc.made()[0].becomes(connectivity.Connecting, nil)
		if n := cc.made()[0].connects.Load(); n != 2 || cc.state() != connectivity.TransientFailure {
			t.Errorf("connected %d times, in state %v", n, cc.state())
		}
		cc.made()[0].becomes(connectivity.Ready, nil)
		pass(time.Second)
		if got := cc.picks(t); got != v4 || cc.made()[1].shutdown.Load() != 1 {
			t.Errorf("picked %s", got)
		}
	})
}

func TestAPodThatSaysItIsNotServingIsNotTriedByItsOtherAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, cc := buildFor(t, "{}", []string{v4, v6})
		defer b.Close()
		only := cc.made()[0]
		only.unhealthy.Store(true)
		only.becomes(connectivity.Ready, nil)
		pass(time.Minute)
		if got := addrs(cc.made()); !slices.Equal(got, []string{v4}) || cc.state() != connectivity.TransientFailure {
			t.Errorf("connected to %v, in state %v", got, cc.state())
		}
	})
}

// A dual-stack pod whose first address nobody listens on, for real.
func TestAPodIsReachedByItsOtherAddress(t *testing.T) {
	a, gone := startPod(t, "a"), startPod(t, "gone")
	gone.kill()
	e := a.endpoint()
	e.Addr, e.AltAddr = gone.addr, a.addr
	conn := dial(t, newSource(e), balancer.Config{})
	mustAsk(t, conn, 10)
	if n := a.accepted.Load(); n != 1 {
		t.Errorf("connected %d times", n)
	}
}

func connecting(subConns []*subConn) (n int) {
	for _, sc := range subConns {
		n += int(sc.connects.Load())
	}
	return n
}

func TestNoMoreThan64ConnectionsAreMadeAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, cc := build(t, 1000, "{}")
		defer b.Close()
		synctest.Wait()
		if n := connecting(cc.made()); n != 64 {
			t.Fatalf("%d connections are being made", n)
		}
		done := make(map[*subConn]bool)
		ready := func() {
			for _, sc := range cc.made() {
				if sc.connects.Load() > 0 && !done[sc] {
					done[sc] = true
					sc.becomes(connectivity.Connecting, nil)
					sc.becomes(connectivity.Ready, nil)
				}
			}
		}
		ready()
		synctest.Wait()
		if n := connecting(cc.made()); n != 64 {
			t.Errorf("%d were begun at once when the first were done, want them to keep a distance", n)
		}
		pass(10 * time.Millisecond)
		if n := connecting(cc.made()); n != 128 {
			t.Errorf("%d after 10 ms", n)
		}
		for range 20 {
			ready()
			pass(10 * time.Millisecond)
		}
		if len(done) != 1000 || connecting(cc.made()) != 1000 {
			t.Errorf("%d are ready", len(done))
		}
	})
}

func TestClientsConnectInDifferentOrders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		chosen := make(map[string]int)
		for range 10 {
			b, cc := build(t, 1000, "{}")
			for _, sc := range cc.made() {
				if sc.connects.Load() > 0 {
					chosen[sc.addr]++
				}
			}
			b.Close()
		}
		if len(chosen) < 300 {
			t.Errorf("ten clients connect to %d of 1000 backends first, want about 480", len(chosen))
		}
	})
}

func TestBackendsThatDoNotAnswerKeepTheOthersWaitingForAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, cc := build(t, 300, "{}")
		defer b.Close()
		for i, want := range []int{64, 128, 192, 256, 300} {
			if n := connecting(cc.made()); n != want {
				t.Errorf("after %d ms: %d connections were begun, want %d", 250*i, n, want)
			}
			pass(250 * time.Millisecond)
		}
	})
}

// Those that leave while they wait for their turn, or have it, take nobody's.
func TestBackendsThatLeaveFreeTheirTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, cc := build(t, 200, "{}")
		old := cc.made()
		next := make([][]string, 64)
		for i := range next {
			next[i] = []string{fmt.Sprintf("10.1.0.%d:80", i+1)}
		}
		update(t, b, next...)
		pass(10 * time.Millisecond)
		if n := connecting(cc.made()[len(old):]); n != 64 {
			t.Errorf("%d of 64 new backends are being connected", n)
		}
		pass(time.Second)
		for _, sc := range old {
			if sc.shutdown.Load() != 1 {
				t.Fatalf("%s was shut down %d times", sc.addr, sc.shutdown.Load())
			}
		}
		b.Close()
		pass(time.Second)
	})
}
