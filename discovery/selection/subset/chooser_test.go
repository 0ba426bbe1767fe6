package subset_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/selection/subset"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A source says of each Service what the test tells it to, one thing after the
// other: Snapshots and errors.
type source map[string]chan any

func newSource() source { return source{"quiz": make(chan any), "shop": make(chan any)} }

func (s source) Watch(ctx context.Context, target discovery.Target, r discovery.Receiver) {
	for {
		select {
		case <-ctx.Done():
			return
		case news := <-s[target.Service]:
			switch news := news.(type) {
			case error:
				r.Error(news)
			case []discovery.Endpoint:
				r.Update(discovery.NewSnapshot(news))
			}
		}
	}
}

func (s source) watch(service string) *discovery.Subscription {
	return discovery.Watch(s, discovery.Target{Scheme: discovery.SchemeKubernetes, Service: service})
}

// pods returns the endpoints of pods with the given names, in the given zones by
// turns.
func pods(names []string, zones ...string) []discovery.Endpoint {
	all := endpoints(len(names))
	for i := range all {
		all[i].Pod = names[i]
		if zones != nil {
			all[i].Zone = zones[i%len(zones)]
		}
	}
	return all
}

// A consumer goes by what a Chooser says.
type consumer struct {
	chooser *subset.Chooser
	views   int // how many Views there were
	choices int // how many of them asked for a choice
	mine    []discovery.Endpoint
}

// consume starts the consumer of a Chooser for the pod shop.
func consume(t *testing.T, s source, pod string, size int) *consumer {
	t.Setenv("POD_NAME", pod)
	c := &consumer{chooser: subset.NewChooser(s.watch("quiz"), s.watch("shop"), size)}
	go func() {
		for {
			view, changed, err := c.chooser.Next(context.Background())
			if err != nil {
				return
			}
			c.views++
			if changed {
				c.choices++
				c.mine = c.chooser.Choose([][]discovery.Endpoint{view.Snapshot.Endpoints})
			}
		}
	}()
	return c
}

func TestAChooserGoesByItsPeersAsSoonAsItKnowsThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, all, peers := newSource(), endpoints(60), names(40)
		c := consume(t, s, peers[7], 8)
		defer c.chooser.Close()
		must := func(when string, choices int, want []discovery.Endpoint) {
			t.Helper()
			synctest.Wait()
			if c.choices != choices || !sameEndpoints(c.mine, want) {
				t.Errorf("%s: after %d choices %v, want after %d %v", when, c.choices, c.mine, choices, want)
			}
		}
		s["shop"] <- fmt.Errorf("list: %w", discovery.ErrForbidden)
		s["quiz"] <- all
		must("peers unknown", 1, subset.Rendezvous(all, peers[7], 8))
		s["shop"] <- pods(peers)
		must("peers known", 2, subset.Bounded(all, peers, peers[7], 8))
		time.Sleep(time.Minute) // of virtual time
		s["shop"] <- fmt.Errorf("list: %w", discovery.ErrForbidden)
		must("peers no longer to be had", 2, subset.Bounded(all, peers, peers[7], 8))
		s["quiz"] <- fmt.Errorf("list: %w", discovery.ErrForbidden)
		must("target no longer to be had", 2, subset.Bounded(all, peers, peers[7], 8))
		if c.views != 3 {
			t.Errorf("%d views, want that of the error as well", c.views)
		}
		time.Sleep(time.Minute) // of virtual time
		s["shop"] <- pods(peers[8:])
		must("not among them", 3, subset.Rendezvous(all, peers[7], 8))
	})
}

// A rollout of the client's own Service: ten pods a second come and are ready.
func TestPeersAreLookedAtOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, all, peers := newSource(), endpoints(60), names(40)
		c := consume(t, s, peers[7], 8)
		defer c.chooser.Close()
		s["quiz"] <- all
		for n := range peers {
			s["shop"] <- pods(peers[:n+1])
			time.Sleep(100 * time.Millisecond) // of virtual time
		}
		time.Sleep(time.Second) // of virtual time
		synctest.Wait()
		if want := subset.Bounded(all, peers, peers[7], 8); !sameEndpoints(c.mine, want) {
			t.Errorf("chosen %v, want %v", c.mine, want)
		}
		if c.choices > 6 {
			t.Errorf("%d choices in the 4 seconds of a rollout", c.choices)
		}
		seen := c.choices
		unready := pods(peers)
		unready[3].Ready = true
		s["shop"] <- unready
		time.Sleep(time.Minute) // of virtual time
		synctest.Wait()
		if c.choices != seen {
			t.Error("a peer's readiness asked for another choice")
		}
	})
}

func TestPeersComeBeforeTheTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, all, peers := newSource(), endpoints(60), names(40)
		c := consume(t, s, peers[7], 8)
		defer c.chooser.Close()
		s["shop"] <- pods(peers)
		synctest.Wait()
		if c.views != 0 {
			t.Error("a view of nothing")
		}
		s["quiz"] <- all
		synctest.Wait()
		if want := subset.Bounded(all, peers, peers[7], 8); c.choices != 1 || !sameEndpoints(c.mine, want) {
			t.Errorf("after %d choices %v, want %v", c.choices, c.mine, want)
		}
	})
}

func TestOnlyPeersOfTheZoneShareWhatIsTheZones(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, peers := newSource(), names(40)
		c := consume(t, s, peers[6], 8)
		defer c.chooser.Close()
		var near []string
		for i := 0; i < len(peers); i += 2 {
			near = append(near, peers[i])
		}
		all, hinted, local := endpoints(60), endpoints(60), endpoints(60)
		for i := range all {
			hinted[i].Hints.Zones = []string{"a"}
			local[i].Zone = "a"
		}
		s["shop"] <- pods(peers, "a", "b")
		s["quiz"] <- all
		synctest.Wait()
		c.chooser.Close() // so that this goroutine may choose
		synctest.Wait()
		everybodys, ours := subset.Bounded(all, peers, peers[6], 8), subset.Bounded(all, near, peers[6], 8)
		for _, test := range []struct {
			what   string
			levels [][]discovery.Endpoint
			want   []discovery.Endpoint
		}{
			{"no hints", [][]discovery.Endpoint{all}, everybodys},
			{"hints for the zone", [][]discovery.Endpoint{hinted}, ours},
			{"all of them happen to be in the zone", [][]discovery.Endpoint{local}, everybodys},
			{"levels by zone", [][]discovery.Endpoint{local, all}, append(ours, everybodys...)},
			{"nothing", nil, nil},
		} {
			if got := c.chooser.Choose(test.levels); fmt.Sprint(set(got)) != fmt.Sprint(set(test.want)) || len(got) != len(test.want) {
				t.Errorf("%s: %d %v, want %d %v", test.what, len(got), got, len(test.want), test.want)
			}
		}
	})
}

// Whatever else is new of them, weights for example, is handed on.
func TestTheSameMembersAreNotChosenAgain(t *testing.T) {
	t.Setenv("POD_NAME", "shop-0")
	s, all := newSource(), endpoints(1000)
	c := subset.NewChooser(s.watch("quiz"), nil, 20)
	defer c.Close()
	want := c.Choose([][]discovery.Endpoint{all})
	level := [][]discovery.Endpoint{append([]discovery.Endpoint(nil), all...)}
	for i := range all {
		level[0][i].Weight = 7
	}
	var got []discovery.Endpoint
	if n := testing.AllocsPerRun(10, func() { got = c.Choose(level) }); n > 1 {
		t.Errorf("%v allocations, want the result alone", n)
	}
	for i := range got {
		if got[i].Weight != 7 || got[i].Addr != want[i].Addr {
			t.Errorf("endpoint %d is %v with weight %d, want %v with 7", i, &got[i], got[i].Weight, &want[i])
		}
	}
	if got := c.Choose([][]discovery.Endpoint{all[1:]}); !sameEndpoints(got, subset.Rendezvous(all[1:], "shop-0", 20)) {
		t.Errorf("with one less %v", got)
	}
	if got := c.Choose([][]discovery.Endpoint{all[:20]}); &got[0] != &all[0] {
		t.Error("all of a level is not the level itself")
	}
}
