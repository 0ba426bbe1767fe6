package dns

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	miekg "github.com/miekg/dns"

	"github.com/sidestep-lb/sidestep/discovery"
)

// A schedule is two bytes for each thing that a DNS server does in turn: what,
// and for how long.
type schedule []byte

// The first byte says what the server does. Half of them are good answers.
const (
	sayNXDOMAIN = iota
	sayNoData
	saySERVFAIL
	sayNothing
	sayGarbage
	sayTruncated
	sayGood // and all above: the rest tells which set
	kinds   = 2 * sayGood
)

// ttls are those of answers, ordinary and absurd.
var ttls = []uint32{0, 1, 5, 30, 3600, 1<<31 - 1, 1 << 31, 1<<32 - 1}

// A script is the server. It notes what it has said.
type script struct {
	mu   sync.Mutex
	now  byte   // what it does; guarded by mu, as all that follows
	ttl  uint32 // of what it says
	said []statement

	complaints []time.Time // of users; owned by the test
}

type statement struct {
	at   time.Time
	addr string // of a good answer; empty for an answer that there is nothing
}

func (s *script) do(what byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now, s.ttl = what%kinds, ttls[int(what/kinds)%len(ttls)]
}

func (s *script) exchange(ctx context.Context, _, _ string, query *miekg.Msg) (*miekg.Msg, error) {
	if query.Question[0].Qtype != miekg.TypeA {
		return noData(), nil
	}
	what, ttl := s.next()
	switch what {
	case sayNXDOMAIN:
		return nxdomain(ttl, ttl)()
	case sayNoData:
		return noData(), nil
	case saySERVFAIL:
		return new(miekg.Msg).SetRcode(query, miekg.RcodeServerFailure), nil
	case sayNothing:
		<-ctx.Done()
		return nil, context.Cause(ctx)
	case sayGarbage:
		raw := pack(query)
		raw[2] |= 0x80 // a response
		return parseAnswer(query, append(raw[:len(raw)-3], 0xff))
	case sayTruncated:
		m := noData()
		m.Truncated = true
		return m, nil
	}
	return has(ttl, addrOfSet(what))()
}

// next notes what is said now, if it is an answer.
func (s *script) next() (what byte, ttl uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.now == sayNXDOMAIN, s.now == sayNoData:
		s.said = append(s.said, statement{at: time.Now()})
	case s.now >= sayGood:
		s.said = append(s.said, statement{time.Now(), addrOfSet(s.now)})
	}
	return s.now, s.ttl
}

func (s *script) statements() []statement {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.said)
}

func addrOfSet(what byte) string { return fmt.Sprintf("10.0.0.%d", what) }

func pack(m *miekg.Msg) []byte {
	raw, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return raw
}

// play runs a watch through the schedule and then lets the server be good.
func (s schedule) play(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := new(script)
		config := Config{Servers: []string{"10.96.0.10:53"}}.withDefaults()
		inBubble(t, config, newWorld(nil), server.exchange, func(w *world) {
			for len(s) > 1 {
				server.do(s[0])
				if s[1]%8 == 0 {
					server.complaints = append(server.complaints, time.Now())
					select {
					case w.refresh <- struct{}{}:
					default:
					}
				}
				pass(time.Duration(s[1]) * 150 * time.Millisecond) // up to 38 s
				s = s[2:]
			}
			server.do(kinds - 1)
			pass(config.MaxTTL + lookupTimeouts*config.Timeout) // what is under way may take its time
			good := addrOfSet(kinds - 1)
			if last := w.last(); last == nil || len(last.Endpoints) != 1 || last.Endpoints[0].Addr.Addr().String() != good {
				t.Errorf("ends with %+v, want %s", last, good)
			}
			check(t, config, server.statements(), server.complaints, w.updated())
		})
	})
}

// check holds what was published against what the server said. All that it said
// was read in the same moment, for a look-up takes no virtual time.
func check(t *testing.T, config Config, said []statement, complaints []time.Time, updates []update) {
	t.Helper()
	for _, u := range updates {
		i := slices.IndexFunc(said, func(s statement) bool { return s.at.Equal(u.at) })
		if i < 0 {
			t.Fatalf("%v at %v, when the server said nothing: a failure changed the set", u.snapshot, u.at)
		}
		if got := addrText(u.snapshot); got != said[i].addr {
			t.Fatalf("published %q at %v, while the server said %q", got, u.at, said[i].addr)
		}
	}
	for i, s := range said {
		published := slices.ContainsFunc(updates, func(u update) bool { return u.at.Equal(s.at) })
		must, may := s.addr != "", s.addr != ""
		if s.addr == "" {
			kept, since := held(said[:i+1])
			must = kept >= config.HoldDown || kept >= confirmation && slices.ContainsFunc(complaints, func(at time.Time) bool {
				return at.After(since) && at.Before(s.at)
			})
			unsettled := since.Add(-config.MaxTTL - lookupTimeouts*config.Timeout) // what came before is
			may = must || kept >= confirmation && slices.ContainsFunc(complaints, func(at time.Time) bool { return !at.Before(unsettled) })
		}
		if published && !may || !published && must {
			t.Fatalf("what the server said at %v is published: %v; all: %v; complaints: %v", s.at, published, said[:i+1], complaints)
		}
	}
}

// held returns for how long the set has been kept by the answers that there is
// nothing at the end of said, and when it was confirmed last; for ever when
// there was none to keep.
func held(said []statement) (kept time.Duration, confirmed time.Time) {
	last := len(said) - 1
	first := last
	for ; said[first].addr == ""; first-- {
		if first == 0 {
			return math.MaxInt64, time.Time{}
		}
	}
	return said[last].at.Sub(said[first+1].at), said[first].at
}

func addrText(s *discovery.Snapshot) string {
	switch len(s.Endpoints) {
	case 0:
		if s.Reason == nil || !errors.Is(s.Reason, discovery.ErrServiceNotFound) {
			return "nothing, without a reason"
		}
		return ""
	default:
		return s.Endpoints[0].Addr.Addr().String()
	}
}

func TestAnySequenceOfAnswersAndFailuresKeepsTheGoodOnes(t *testing.T) {
	const schedules = 60
	for seed := range uint64(schedules) {
		random := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
		s := make(schedule, 40)
		_, _ = random.Read(s) // never fails
		s.play(t)
		if t.Failed() {
			t.Fatalf("schedule %d: %v", seed, s)
		}
	}
}

func FuzzSchedule(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{sayGood, 20, sayNXDOMAIN, 10, sayGood, 20, saySERVFAIL, 200, sayNXDOMAIN, 5})
	f.Add([]byte{sayNothing, 255, sayGood + 5*kinds, 8, sayGarbage, 16, sayTruncated, 16, sayNoData, 250})
	f.Fuzz(func(t *testing.T, s []byte) {
		schedule(s[:min(len(s), 100)]).play(t)
	})
}
