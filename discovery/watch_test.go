package discovery_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/sidestep-lb/sidestep/discovery"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A hand is a Source that a test works by hand.
type hand struct {
	runs, ended atomic.Int32
	receivers   chan discovery.Receiver
}

func newHand() *hand { return &hand{receivers: make(chan discovery.Receiver, 10)} }

func (h *hand) Watch(ctx context.Context, _ discovery.Target, r discovery.Receiver) {
	h.runs.Add(1)
	defer h.ended.Add(1)
	h.receivers <- r
	<-ctx.Done()
}

func (h *hand) Canonical(t discovery.Target) discovery.Target {
	if t.Namespace == "" {
		t.Namespace = "kiada"
	}
	return t
}

func target(t *testing.T, s string) discovery.Target {
	t.Helper()
	target, err := discovery.ParseTarget(s)
	if err != nil {
		t.Fatal(err)
	}
	return target
}

func snapshot(addrs ...string) *discovery.Snapshot {
	var endpoints []discovery.Endpoint
	for _, a := range addrs {
		endpoints = append(endpoints, discovery.Endpoint{Addr: netip.MustParseAddrPort(a), Ready: true, Serving: true})
	}
	return discovery.NewSnapshot(endpoints)
}

func addrs(s *discovery.Snapshot) string {
	var all []string
	for i := range s.Endpoints {
		all = append(all, s.Endpoints[i].String())
	}
	return strings.Join(all, " ")
}

func TestUsersOfOneTargetShareOneWatch(t *testing.T) {
	source := newHand()
	a := discovery.Watch(source, target(t, "k8s:///quiz:80"))
	b := discovery.Watch(source, target(t, "k8s:///quiz.kiada:80"))
	c := discovery.Watch(source, target(t, "k8s:///quiz.kiada:81"))
	defer c.Close()
	(<-source.receivers).Update(snapshot("10.0.0.1:80"))
	(<-source.receivers).Update(snapshot("10.0.0.1:81"))

	a.Close()
	a.Close()
	if n := source.ended.Load(); n != 0 {
		t.Fatalf("%d watches ended while they had users", n)
	}
	if _, err := b.First(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.Close()
	if n := source.ended.Load(); n != 1 {
		t.Errorf("after the last user of a target left, %d watches have ended, want 1", n)
	}
	d := discovery.Watch(source, target(t, "k8s:///quiz:80"))
	defer d.Close()
	if v := d.View(); v.Snapshot != nil {
		t.Errorf("a new watch begins with the Snapshot %v of the old one", addrs(v.Snapshot))
	}
	<-source.receivers
	if n := source.runs.Load(); n != 3 {
		t.Errorf("the source ran %d times, want 3", n)
	}
}

func TestStatusesTellWhatTheProcessWatches(t *testing.T) {
	source := newHand()
	b := discovery.Watch(source, target(t, "k8s:///b.kiada:80"))
	a1 := discovery.Watch(source, target(t, "k8s:///a.kiada:80"))
	a2 := discovery.Watch(source, target(t, "k8s:///a:80"))
	var got []string
	for _, s := range discovery.Statuses() {
		got = append(got, fmt.Sprintf("%s %d", s.Target, s.Users))
	}
	if want := "[k8s:///a.kiada:80 2 k8s:///b.kiada:80 1]"; fmt.Sprint(got) != want {
		t.Errorf("statuses %v, want %s", got, want)
	}
	for _, sub := range []*discovery.Subscription{a1, a2, b} {
		sub.Close()
	}
	if left := discovery.Statuses(); len(left) != 0 {
		t.Errorf("statuses %v after Close, want none", left)
	}
}

func TestASlowUserSeesTheLatestView(t *testing.T) {
	source := newHand()
	sub := discovery.Watch(source, target(t, "k8s:///quiz:80"))
	defer sub.Close()
	r := <-source.receivers
	for _, a := range []string{"10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"} {
		r.Update(snapshot(a))
	}
	view, err := sub.Next(t.Context())
	if err != nil || addrs(view.Snapshot) != "10.0.0.3:80" {
		t.Errorf("Next: %v, %v; want the latest view, 10.0.0.3:80", view, err)
	}
}

func TestAFailedReadKeepsTheLastSnapshotAndMarksItStale(t *testing.T) {
	source := newHand()
	sub := discovery.Watch(source, target(t, "k8s:///quiz:80"))
	defer sub.Close()
	r := <-source.receivers
	r.Update(snapshot("10.0.0.1:80"))
	good, _ := sub.Next(t.Context())

	r.Error(errors.New("connection refused"))
	stale, err := sub.Next(t.Context())
	if err != nil || stale.Snapshot != good.Snapshot || !stale.Stale() {
		t.Errorf("after a failed read: %+v, %v; want the same Snapshot, stale", stale, err)
	}
	r.Update(snapshot("10.0.0.1:80"))
	again, err := sub.Next(t.Context())
	if err != nil || again.Snapshot != good.Snapshot || again.Stale() {
		t.Errorf("after a good read: %+v, %v; want the same Snapshot, not stale", again, err)
	}
}

func TestAReadThatChangesNothingWakesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := newHand()
		sub := discovery.Watch(source, target(t, "k8s:///quiz:80"))
		defer sub.Close()
		r := <-source.receivers
		r.Update(snapshot("10.0.0.1:80"))
		if _, err := sub.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.Update(snapshot("10.0.0.1:80"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if view, err := sub.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Next after an equal Snapshot: %v, %v; want it to wait", view, err)
		}
	})
}

func TestFirstWaitsForTheCallersContextAndThenSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := newHand()
		sub := discovery.Watch(source, target(t, "k8s:///quiz.kiada:80"))
		defer sub.Close()
		(<-source.receivers).Error(errors.New("connection refused"))
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		began := time.Now()
		_, err := sub.First(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 3*time.Second {
			t.Errorf("First returned %v after %v, want a deadline error after 3s", err, time.Since(began))
		}
		for _, part := range []string{"k8s:///quiz.kiada:80", "connection refused"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("error %q lacks %q", err, part)
			}
		}
	})
}

func TestAPermanentErrorEndsTheWaitAtOnce(t *testing.T) {
	source := newHand()
	go func() { (<-source.receivers).Error(errors.Join(discovery.ErrForbidden)) }()
	if _, err := discovery.Resolve(t.Context(), source, target(t, "k8s:///quiz:80")); !errors.Is(err, discovery.ErrForbidden) {
		t.Errorf("Resolve: %v, want ErrForbidden", err)
	}
}

func TestCloseWakesThoseWhoWait(t *testing.T) {
	source := newHand()
	sub := discovery.Watch(source, target(t, "k8s:///quiz:80"))
	var waiting sync.WaitGroup
	waiting.Go(func() {
		if _, err := sub.Next(t.Context()); !errors.Is(err, discovery.ErrClosed) {
			t.Errorf("Next: %v, want ErrClosed", err)
		}
	})
	waiting.Go(func() {
		if _, err := sub.First(t.Context()); !errors.Is(err, discovery.ErrClosed) {
			t.Errorf("First: %v, want ErrClosed", err)
		}
	})
	sub.Close()
	waiting.Wait()
}

func TestAHintToRefreshIsNeverLostNorPiledUp(t *testing.T) {
	source := newHand()
	sub := discovery.Watch(source, target(t, "k8s:///quiz:80"))
	defer sub.Close()
	r := <-source.receivers
	for range 5 {
		sub.Refresh()
	}
	<-r.Refresh()
	select {
	case <-r.Refresh():
		t.Error("several hints at a time make more than one")
	default:
	}
}

func TestUnusableNamesTheServiceAndWhatIsThere(t *testing.T) {
	quiz := target(t, "k8s:///quiz.kiada:grpc")
	down := snapshot("10.0.0.1:80", "10.0.0.2:80")
	down.Endpoints[0].Ready, down.Endpoints[1].Ready = false, false
	for name, test := range map[string]struct {
		snapshot *discovery.Snapshot
		want     error
		text     string
	}{
		"no pods":    {snapshot(), discovery.ErrNoEndpoints, "quiz.kiada:grpc: no endpoint ready: it has no pods"},
		"none ready": {down, discovery.ErrNoEndpoints, "0 of its 2 endpoints are ready"},
		"no service": {&discovery.Snapshot{Reason: discovery.ErrServiceNotFound}, discovery.ErrServiceNotFound, ""},
		"local":      {&discovery.Snapshot{Endpoints: down.Endpoints, LocalOnly: true}, discovery.ErrNoEndpoints, "internalTrafficPolicy is Local"},
	} {
		err := test.snapshot.Unusable(quiz)
		if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) {
			t.Errorf("%s: %v; want %v with %q", name, err, test.want, test.text)
		}
	}
}

func TestAddressesThatNoPodHasAreRefused(t *testing.T) {
	for _, a := range []string{"127.0.0.1", "::1", "::ffff:127.0.0.1", "0.0.0.0", "::", "169.254.169.254", "fe80::1", "224.0.0.1", "ff02::1"} {
		if discovery.CheckAddr(netip.MustParseAddr(a)) == nil {
			t.Errorf("CheckAddr(%s) accepts it", a)
		}
	}
	for _, a := range []string{"10.244.0.5", "fd00::5", "192.168.1.1", "8.8.8.8"} {
		if err := discovery.CheckAddr(netip.MustParseAddr(a)); err != nil {
			t.Errorf("CheckAddr: %v", err)
		}
	}
}
