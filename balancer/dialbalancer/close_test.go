package dialbalancer_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidestep-lb/sidestep/balancer/dialbalancer"
	"github.com/sidestep-lb/sidestep/discovery"
)

func TestCloseEndsConnectionsAndDials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster("a", "b")
		d := newDialer(t, c, dialbalancer.Config{})
		conn := dial(t, d)
		for _, p := range c.pods {
			p.with(func(p *pod) { p.silent = true })
		}
		failed := make(chan error)
		go func() {
			_, err := d.DialContext(t.Context(), "tcp", address)
			failed <- err
		}()
		synctest.Wait()
		for range 2 {
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := <-failed; !errors.Is(err, discovery.ErrClosed) {
			t.Errorf("the dial that was under way: %v", err)
		}
		if _, err := ask(conn); err == nil {
			t.Error("a connection is open after Close")
		}
		if _, err := d.Dial("tcp", address); !errors.Is(err, discovery.ErrClosed) {
			t.Errorf("a dial after Close: %v", err)
		}
		conn.Close()
	})
}

func TestADialerThatWasNeverUsedCloses(t *testing.T) {
	d := newDialer(t, newCluster("a"), dialbalancer.Config{})
	if err := errors.Join(d.Shutdown(t.Context()), d.Close()); err != nil {
		t.Error(err)
	}
	if _, err := d.Dial("tcp", address); !errors.Is(err, discovery.ErrClosed) {
		t.Errorf("a dial after Close: %v", err)
	}
}

func TestShutdownWaitsForThoseWhoUseConnections(t *testing.T) {
	for _, removal := range []dialbalancer.Removal{dialbalancer.CloseOnNextUse, dialbalancer.CloseAtOnce} {
		shutdownWaits(t, removal)
	}
	synctest.Test(t, func(t *testing.T) {
		d := newDialer(t, newCluster("a"), dialbalancer.Config{})
		conn := dial(t, d)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := d.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the deadline", err)
		}
		if _, err := ask(conn); err == nil {
			t.Error("a connection is open after Shutdown")
		}
	})
}

func shutdownWaits(t *testing.T, removal dialbalancer.Removal) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster("a", "b")
		d := newDialer(t, c, dialbalancer.Config{Removal: removal})
		first, second := dial(t, d), dial(t, d)
		time.AfterFunc(time.Second, func() { first.Close() })
		time.AfterFunc(2*time.Second, func() {
			mustAsk(t, second)
			second.Close()
		})
		began := time.Now()
		if err := d.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("Shutdown took %v, want 2s", took)
		}
	})
}
