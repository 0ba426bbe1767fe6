package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	miekg "github.com/miekg/dns"

	"github.com/sidestep-lb/sidestep/discovery"
)

// The tests of this file run in virtual time, with a server that is a function.

// A world is a DNS server that answers A queries at once, and a record of what
// a watch asks and reports.
type world struct {
	refresh chan struct{}

	mu       sync.Mutex
	answer   func() (*miekg.Msg, error) // guarded by mu, as all that follows
	queries  []time.Time
	updates  []update
	failures []error
}

type update struct {
	at       time.Time
	snapshot *discovery.Snapshot
}

func newWorld(answer func() (*miekg.Msg, error)) *world {
	return &world{answer: answer, refresh: make(chan struct{}, 1)}
}

func (w *world) Refresh() <-chan struct{} { return w.refresh }

func (w *world) Update(s *discovery.Snapshot) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.updates = append(w.updates, update{time.Now(), s})
}

func (w *world) Error(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failures = append(w.failures, err)
}

func (w *world) exchange(_ context.Context, _, _ string, query *miekg.Msg) (*miekg.Msg, error) {
	if query.Question[0].Qtype != miekg.TypeA {
		return noData(), nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queries = append(w.queries, time.Now())
	return w.answer()
}

// say changes the answer.
func (w *world) say(answer func() (*miekg.Msg, error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer = answer
}

func (w *world) asked() []time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.queries)
}

func (w *world) updated() []update {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.updates)
}

func (w *world) failed() []error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.failures)
}

// last returns what was reported last.
func (w *world) last() *discovery.Snapshot {
	updates := w.updated()
	if len(updates) == 0 {
		return nil
	}
	return updates[len(updates)-1].snapshot
}

// inWorld runs test with a watch that ends with it.
func inWorld(t *testing.T, config Config, answer func() (*miekg.Msg, error), test func(w *world)) {
	t.Helper()
	config.Servers = []string{"10.96.0.10:53"}
	w := newWorld(answer)
	synctest.Test(t, func(t *testing.T) { inBubble(t, config, w, w.exchange, test) })
}

// inBubble is inWorld with servers of the test's own. Channels belong to the
// bubble that they are made in, so w is to have no user outside.
func inBubble(t *testing.T, config Config, w *world, servers exchangeFunc, test func(w *world)) {
	t.Helper()
	w.refresh = make(chan struct{}, 1)
	config.Namespace, config.Domain = "kiada", "cluster.local"
	source := New(config)
	source.exchange = servers
	target, err := discovery.ParseTarget("headless:///quiz:80")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		source.Watch(ctx, target, w)
	}()
	synctest.Wait()
	test(w)
	cancel()
	<-ended
}

func pass(d time.Duration) {
	time.Sleep(d) // of virtual time
	synctest.Wait()
}

func has(ttl uint32, addr string) func() (*miekg.Msg, error) {
	return func() (*miekg.Msg, error) {
		m := noData()
		m.Answer = []miekg.RR{&miekg.A{
			Hdr: miekg.RR_Header{Name: "quiz.kiada.svc.cluster.local.", Rrtype: miekg.TypeA, Class: miekg.ClassINET, Ttl: ttl},
			A:   net.ParseIP(addr),
		}}
		return m, nil
	}
}

func nxdomain(ttl, minimum uint32) func() (*miekg.Msg, error) {
	return func() (*miekg.Msg, error) {
		m := noData()
		m.Rcode = miekg.RcodeNameError
		m.Ns = []miekg.RR{&miekg.SOA{Hdr: miekg.RR_Header{Name: "cluster.local.", Rrtype: miekg.TypeSOA, Class: miekg.ClassINET, Ttl: ttl}, Minttl: minimum}}
		return m, nil
	}
}

func noData() *miekg.Msg {
	return &miekg.Msg{MsgHdr: miekg.MsgHdr{Response: true, Authoritative: true}}
}

func fails() (*miekg.Msg, error) { return nil, errors.New("no answer within 2s") }

func TestTheNextQueryFollowsTheTTLWithinItsBounds(t *testing.T) {
	for _, test := range []struct {
		ttl  uint32
		want time.Duration
	}{
		{0, time.Second},
		{1, time.Second},
		{30, 30 * time.Second},
		{3600, time.Minute},
		{1 << 31, time.Second}, // RFC 2181: the highest bit means zero
	} {
		t.Run(fmt.Sprint(test.ttl), func(t *testing.T) {
			inWorld(t, Config{}, has(test.ttl, "10.0.0.1"), func(w *world) {
				pass(20 * test.want)
				different := make(map[time.Duration]bool)
				for i := range w.asked()[1:] {
					d := w.asked()[i+1].Sub(w.asked()[i])
					if d > test.want || d < test.want*9/10 {
						t.Errorf("%v between two queries, want at most %v and a tenth less", d, test.want)
					}
					different[d] = true
				}
				if len(different) < 2 {
					t.Errorf("no jitter: %v", w.asked())
				}
			})
		})
	}
}

func TestAnUnchangedAnswerIsReportedAllTheSame(t *testing.T) {
	inWorld(t, Config{}, has(5, "10.0.0.1"), func(w *world) {
		pass(time.Minute)
		if len(w.updated()) != len(w.asked()) {
			t.Errorf("%d reports of %d answers", len(w.updated()), len(w.asked()))
		}
		if !w.updated()[0].snapshot.Equal(w.last()) {
			t.Errorf("%v became %v", w.updated()[0].snapshot, w.last())
		}
	})
}

func TestFailuresAreRetriedWithBackoffAndChangeNothing(t *testing.T) {
	inWorld(t, Config{}, has(1, "10.0.0.1"), func(w *world) {
		w.say(fails)
		pass(time.Second)
		good, begun := len(w.updated()), w.asked()[len(w.asked())-1]
		pass(10 * time.Minute)
		if len(w.updated()) != good {
			t.Errorf("a failure became an update: %v", w.last())
		}
		first, last := 375*time.Millisecond, 7500*time.Millisecond // with a jitter of one half
		i := slices.Index(w.asked(), begun)
		if d := w.asked()[i+1].Sub(begun); d > first {
			t.Errorf("first retry after %v", d)
		}
		for i := range w.asked()[1:] {
			if d := w.asked()[i+1].Sub(w.asked()[i]); d > last {
				t.Errorf("a retry after %v", d)
			}
		}
		if n := len(w.failed()); n < 80 || n > 260 {
			t.Errorf("%d retries in ten minutes", n)
		}
		w.say(has(1, "10.0.0.2"))
		pass(last)
		if w.last().Endpoints[0].Addr.Addr().String() != "10.0.0.2" {
			t.Errorf("not recovered: %v", w.last())
		}
	})
}

func TestTheFirstLookUpIsRetriedQuickly(t *testing.T) {
	inWorld(t, Config{}, fails, func(w *world) {
		w.say(has(30, "10.0.0.1"))
		pass(375 * time.Millisecond)
		if w.last() == nil {
			t.Error("nothing yet")
		}
	})
}

func TestNXDOMAINCountsAtOnceWhenNothingWasKnown(t *testing.T) {
	inWorld(t, Config{}, nxdomain(30, 30), func(w *world) {
		if w.last() == nil || !errors.Is(w.last().Reason, discovery.ErrServiceNotFound) {
			t.Errorf("reported %v", w.last())
		}
	})
}

func TestASetThatServesIsKeptWhileItsNameIsGone(t *testing.T) {
	inWorld(t, Config{MaxTTL: time.Second}, has(1, "10.0.0.1"), func(w *world) {
		w.say(nxdomain(30, 30)) // the Service was deleted, its pods were not
		pass(10 * time.Second)
		if len(w.last().Endpoints) == 0 {
			t.Fatal("emptied although no user reported trouble")
		}
		if len(w.failed()) == 0 || !errors.Is(w.failed()[0], discovery.ErrServiceNotFound) || !strings.Contains(w.failed()[0].Error(), "kept") {
			t.Errorf("nothing said of it: %v", w.failed())
		}
		pass(time.Second)
		if len(w.last().Endpoints) > 0 {
			t.Error("not emptied after 11 s")
		}
	})
}

func TestNXDOMAINEmptiesASetInTroubleWithinASecond(t *testing.T) {
	for name, report := range map[string]time.Duration{"before": 300 * time.Millisecond, "meanwhile": 3 * time.Second} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, Config{MaxTTL: time.Second}, has(1, "10.0.0.1"), func(w *world) {
				w.say(nxdomain(30, 30))
				pass(report)
				w.refresh <- struct{}{}
				first := w.asked()[len(w.asked())-1]
				pass(max(time.Second, 1800*time.Millisecond-report))
				if len(w.last().Endpoints) > 0 {
					t.Errorf("not emptied %v after NXDOMAIN", time.Since(first))
				}
			})
		})
	}
}

func TestOneNXDOMAINIsNotEnoughForASetInTrouble(t *testing.T) {
	inWorld(t, Config{MaxTTL: time.Second}, has(1, "10.0.0.1"), func(w *world) {
		for range 10 { // NXDOMAIN for half a second, again and again
			w.refresh <- struct{}{}
			w.say(nxdomain(30, 30))
			pass(500 * time.Millisecond)
			w.say(has(1, "10.0.0.1"))
			pass(time.Second)
		}
		for _, u := range w.updated() {
			if len(u.snapshot.Endpoints) == 0 {
				t.Fatalf("emptied at %v", u.at)
			}
		}
	})
}

func TestTroubleIsForgottenOnceAnAnswerIsNewerThanIt(t *testing.T) {
	for _, test := range []struct {
		ttl  uint32
		kept bool
	}{
		{1, true},
		{30, false}, // a cache may have had it since before the trouble
	} {
		inWorld(t, Config{}, has(test.ttl, "10.0.0.1"), func(w *world) {
			pass(5 * time.Second)
			w.refresh <- struct{}{}
			pass(4 * time.Second)
			w.say(nxdomain(30, 30))
			pass(35 * time.Second)
			first := slices.IndexFunc(w.asked(), func(at time.Time) bool { return at.Sub(w.asked()[0]) >= 9*time.Second })
			emptied := slices.IndexFunc(w.updated(), func(u update) bool { return len(u.snapshot.Endpoints) == 0 })
			if emptied < 0 {
				t.Fatal("not emptied")
			}
			if held := w.updated()[emptied].at.Sub(w.asked()[first]); (held > time.Second) != test.kept {
				t.Errorf("TTL %d s: the set was held for %v, want it kept: %v", test.ttl, held, test.kept)
			}
		})
	}
}

func TestTheSetIsKeptForTheWholeHoldDown(t *testing.T) {
	inWorld(t, Config{HoldDown: 10 * time.Second}, has(1, "10.0.0.1"), func(w *world) {
		first := time.Time{}
		w.say(func() (*miekg.Msg, error) {
			if first.IsZero() {
				first = time.Now()
			}
			return nxdomain(30, 30)()
		})
		pass(20 * time.Second)
		emptied := slices.IndexFunc(w.updated(), func(u update) bool { return len(u.snapshot.Endpoints) == 0 })
		if emptied < 0 || w.updated()[emptied].at.Sub(first) != 10*time.Second {
			t.Errorf("emptied at %v of %v, NXDOMAIN since %v", emptied, w.updated(), first)
		}
	})
}

func TestAGoodAnswerWithinTheHoldDownCancelsIt(t *testing.T) {
	inWorld(t, Config{MaxTTL: time.Second}, has(1, "10.0.0.1"), func(w *world) {
		for range 10 { // NXDOMAIN for half a second, again and again
			w.say(nxdomain(30, 30))
			pass(500 * time.Millisecond)
			w.say(has(1, "10.0.0.1"))
			pass(time.Second)
		}
		for _, u := range w.updated() {
			if len(u.snapshot.Endpoints) == 0 {
				t.Fatalf("emptied at %v", u.at)
			}
		}
	})
}

func TestAFailureWithinTheHoldDownDoesNotEndIt(t *testing.T) {
	inWorld(t, Config{MaxTTL: time.Second}, has(1, "10.0.0.1"), func(w *world) {
		w.say(nxdomain(30, 30))
		pass(time.Second + 100*time.Millisecond)
		w.say(fails)
		pass(time.Hour)
		if len(w.last().Endpoints) == 0 {
			t.Error("emptied by failures")
		}
		w.say(nxdomain(30, 30))
		pass(10 * time.Second)
		if len(w.last().Endpoints) > 0 {
			t.Error("not emptied by NXDOMAIN")
		}
	})
}

func TestTheFirstPodAfterNoneIsSeenWithinTwoSeconds(t *testing.T) {
	for _, negative := range []uint32{0, 1, 30, 3600} {
		inWorld(t, Config{}, nxdomain(3600, negative), func(w *world) {
			pass(time.Minute)
			longest := min(max(time.Duration(negative)*time.Second, time.Second), 2*time.Second)
			for i := range w.asked()[1:] {
				if d := w.asked()[i+1].Sub(w.asked()[i]); d > longest || d < longest*9/10 {
					t.Errorf("negative TTL %d s: %v between two queries, want %v", negative, d, longest)
				}
			}
		})
	}
}

func TestTheNegativeTTLIsTheLesserOfTheSOAsTwo(t *testing.T) {
	m, _ := nxdomain(1, 30)()
	if ttl := negativeTTL(m); ttl != time.Second {
		t.Errorf("got %v", ttl)
	}
}

func TestARefreshAsksAgainAtOnce(t *testing.T) {
	inWorld(t, Config{}, has(30, "10.0.0.1"), func(w *world) {
		pass(5 * time.Second)
		w.say(has(30, "10.0.0.2"))
		w.refresh <- struct{}{}
		synctest.Wait()
		if w.last().Endpoints[0].Addr.Addr().String() != "10.0.0.2" {
			t.Errorf("still %v", w.last())
		}
	})
}

func TestARefreshThatComesTooEarlyIsDelayedNotDropped(t *testing.T) {
	inWorld(t, Config{}, has(30, "10.0.0.1"), func(w *world) {
		pass(100 * time.Millisecond)
		w.refresh <- struct{}{}
		synctest.Wait()
		if n := len(w.asked()); n != 1 {
			t.Fatalf("%d queries at once", n)
		}
		pass(900 * time.Millisecond)
		if n := len(w.asked()); n != 2 {
			t.Errorf("%d queries after MinTTL, want 2", n)
		}
	})
}

func TestAStormOfRefreshesAsksOncePerMinTTL(t *testing.T) {
	inWorld(t, Config{MinTTL: time.Second}, has(30, "10.0.0.1"), func(w *world) {
		for range 1000 { // ten seconds
			select {
			case w.refresh <- struct{}{}:
			default:
			}
			pass(10 * time.Millisecond)
		}
		if n := len(w.asked()); n < 9 || n > 11 {
			t.Errorf("%d queries in ten seconds", n)
		}
	})
}

func TestARefreshDoesNotPostponeAQueryThatIsDue(t *testing.T) {
	inWorld(t, Config{MinTTL: 10 * time.Second}, fails, func(w *world) {
		w.refresh <- struct{}{}
		pass(375 * time.Millisecond)
		if n := len(w.asked()); n != 2 {
			t.Errorf("%d queries, want the first and its retry", n)
		}
	})
}

func TestNothingIsReportedAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(nil)
		source := New(Config{Servers: []string{"10.96.0.10:53"}, Namespace: "kiada", Domain: "cluster.local"})
		source.exchange = func(ctx context.Context, _, _ string, _ *miekg.Msg) (*miekg.Msg, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second) // before the query's own
		defer cancel()
		source.Watch(ctx, discovery.Target{Scheme: discovery.SchemeHeadless, Service: "quiz", Port: discovery.Port{Number: 80}}, w)
		if len(w.updated())+len(w.failed()) > 0 {
			t.Errorf("reported %v and %v", w.updated(), w.failed())
		}
	})
}
