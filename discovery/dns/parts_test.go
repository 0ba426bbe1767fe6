package dns_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	miekg "github.com/miekg/dns"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/internal/dnstest"
)

// failingFor answers SERVFAIL to all questions about names that begin so, and
// leaves out additional sections.
func failingFor(prefixes ...string) dnstest.Fault {
	return func(_ string, query, answer *miekg.Msg) []byte {
		for _, prefix := range prefixes {
			if strings.HasPrefix(query.Question[0].Name, prefix) {
				answer.Rcode = miekg.RcodeServerFailure
				answer.Answer = nil
			}
		}
		answer.Extra = nil
		return pack(answer)
	}
}

// muteFor answers no question about names that begin so.
func muteFor(prefix string) dnstest.Fault {
	return func(_ string, query, answer *miekg.Msg) []byte {
		if strings.HasPrefix(query.Question[0].Name, prefix) {
			return nil
		}
		answer.Extra = nil
		return pack(answer)
	}
}

func threeHosts(t *testing.T, ttl time.Duration) *dnstest.Server {
	t.Helper()
	server := startServer(t)
	setHosts(server, ttl, "a", "b", "c")
	for i, name := range []string{"a", "b", "c", "d"} {
		server.SetA(name+"."+host, ttl, ips(fmt.Sprintf("10.0.0.%d", i+1))...)
	}
	return server
}

func setHosts(server *dnstest.Server, ttl time.Duration, names ...string) {
	var records []dnstest.SRV
	for _, name := range names {
		records = append(records, dnstest.SRV{Target: name + "." + host, Port: 9090})
	}
	server.SetSRV("_grpc._tcp."+host, ttl, records...)
}

// degraded reports whether exactly addrs serve, though the answer was a part.
func degraded(addrs ...string) func(discovery.View) bool {
	return func(v discovery.View) bool {
		return v.Err == nil && slices.Equal(addrsOf(v.Snapshot), addrs) && v.Snapshot.Degraded != nil
	}
}

func TestAHostThatCannotBeLookedUpCostsThatHost(t *testing.T) {
	for name, fault := range map[string]dnstest.Fault{
		"SERVFAIL": failingFor("c."), "no answer": muteFor("c."),
		"malformed": func(network string, query, answer *miekg.Msg) []byte {
			answer.Extra = nil
			if strings.HasPrefix(query.Question[0].Name, "c.") {
				return dnstest.CutShort(network, query, answer)
			}
			return pack(answer)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := threeHosts(t, time.Minute)
			server.Break(fault)
			config := quick(server)
			config.Timeout = 100 * time.Millisecond
			snapshot := resolve(t, config, "headless:///quiz:grpc")
			expect(t, snapshot, "10.0.0.1:9090", "10.0.0.2:9090")
			if d := snapshot.Degraded; d == nil || !strings.Contains(d.Error(), "1 of the 3 hosts") || !strings.Contains(d.Error(), "c."+host) {
				t.Errorf("degraded: %v", d)
			}
		})
	}
}

func TestAHostThatFailsKeepsTheAddressesThatItHad(t *testing.T) {
	server := threeHosts(t, time.Second)
	server.Break(dnstest.NoAdditional)
	sub := watch(t, quick(server), "headless:///quiz:grpc")
	serves(t, sub, "10.0.0.1:9090", "10.0.0.2:9090", "10.0.0.3:9090")

	server.Break(failingFor("b."))
	setHosts(server, time.Second, "b", "c", "d") // a goes and d comes meanwhile
	await(t, sub, "the others as they are now", degraded("10.0.0.2:9090", "10.0.0.3:9090", "10.0.0.4:9090"))

	setHosts(server, time.Second, "c", "d")
	serves(t, sub, "10.0.0.3:9090", "10.0.0.4:9090")
}

func TestWhereNoHostCanBeLookedUpTheLookUpFails(t *testing.T) {
	server := threeHosts(t, time.Second)
	server.Break(failingFor("a.", "b.", "c."))
	if err := resolveError(t, quick(server), "headless:///quiz:grpc"); !strings.Contains(err.Error(), "3 of the 3 hosts") {
		t.Errorf("error %v", err)
	}
}

func TestTheNextPriorityStandsInForHostsThatCannotBeLookedUp(t *testing.T) {
	server := threeHosts(t, time.Second)
	server.SetSRV("_grpc._tcp."+host, time.Second,
		dnstest.SRV{Target: "a." + host, Port: 9090, Priority: 1}, dnstest.SRV{Target: "b." + host, Port: 9090, Priority: 2})
	server.Break(failingFor("a."))
	snapshot := resolve(t, quick(server), "headless:///quiz:grpc")
	expect(t, snapshot, "10.0.0.2:9090")
	if snapshot.Degraded == nil {
		t.Error("not degraded")
	}
}

func TestHostsAreAskedForWhenTheirOwnTTLIsOver(t *testing.T) {
	server := threeHosts(t, time.Minute)
	server.Break(dnstest.NoAdditional)
	config := quick(server)
	config.MaxTTL = time.Minute // of the hosts; the SRV records are asked for each second
	setHosts(server, time.Second, "a", "b", "c")
	server.SetA("b."+host, 0, ips("10.0.0.2")...)
	config.MinTTL = 10 * time.Millisecond
	sub := watch(t, config, "headless:///quiz:grpc")
	serves(t, sub, "10.0.0.1:9090", "10.0.0.2:9090", "10.0.0.3:9090")
	awaitQueries(t, server, "b."+host, miekg.TypeA, 20) // its TTL is 0, and it sets the pace
	for _, name := range []string{"a.", "c."} {
		if a, aaaa := server.Queries(name+host, miekg.TypeA), server.Queries(name+host, miekg.TypeAAAA); a > 1 || aaaa > 1 {
			t.Errorf("%s was asked for %d and %d times, want once, as its TTL is a minute", name, a, aaaa)
		}
	}
	if n := server.Queries("b."+host, miekg.TypeAAAA); n > 1 {
		t.Errorf("%d questions for IPv6 addresses of a host that has others", n)
	}
}

func TestAHostThatChangesItsFamilyIsFollowed(t *testing.T) {
	server := threeHosts(t, 0)
	setHosts(server, 0, "a")
	server.Break(dnstest.NoAdditional)
	sub := watch(t, quick(server), "headless:///quiz:grpc")
	serves(t, sub, "10.0.0.1:9090")
	server.SetA("a."+host, 0, ips("2001:db8::1")...)
	serves(t, sub, "[2001:db8::1]:9090")
}

// truncatedTo makes the server leave out all but n answers to questions of a type,
// over TCP, too.
func truncatedTo(n int, qtype uint16) dnstest.Fault {
	return func(_ string, query, answer *miekg.Msg) []byte {
		if query.Question[0].Qtype == qtype && len(answer.Answer) > n {
			answer.Answer, answer.Extra, answer.Truncated = answer.Answer[:n], nil, true
		}
		return pack(answer)
	}
}

func TestATruncatedAnswerIsNeverTakenForAll(t *testing.T) {
	for name, test := range map[string]struct {
		target string
		qtype  uint16
		set    func(s *dnstest.Server, from, to int)
	}{
		"addresses": {"headless:///quiz:9090", miekg.TypeA, func(s *dnstest.Server, from, to int) {
			var addrs []string
			for i := from; i <= to; i++ {
				addrs = append(addrs, fmt.Sprintf("10.0.0.%d", i))
			}
			s.SetA(host, time.Second, ips(addrs...)...)
		}},
		"SRV records": {"headless:///quiz:grpc", miekg.TypeSRV, func(s *dnstest.Server, from, to int) {
			var names []string
			for i := from; i <= to; i++ {
				name := fmt.Sprintf("pod-%d", i)
				s.SetA(name+"."+host, time.Minute, ips(fmt.Sprintf("10.0.0.%d", i))...)
				names = append(names, name)
			}
			setHosts(s, time.Second, names...)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			logged := captureLog(t)
			server := startServer(t)
			test.set(server, 1, 6)
			server.Break(truncatedTo(4, test.qtype))
			sub := watch(t, quick(server), test.target)
			// Nothing was known, so the part is better than nothing.
			view := await(t, sub, "the part", degraded("10.0.0.1:9090", "10.0.0.2:9090", "10.0.0.3:9090", "10.0.0.4:9090"))
			if !strings.Contains(view.Snapshot.Degraded.Error(), "k8s:///") || !strings.Contains(logged(), "k8s:///") {
				t.Errorf("degraded: %v; logged: %s", view.Snapshot.Degraded, logged())
			}
			// What is left out the next time may be there still.
			test.set(server, 3, 8)
			await(t, sub, "the old and the new", degraded("10.0.0.1:9090", "10.0.0.2:9090", "10.0.0.3:9090", "10.0.0.4:9090", "10.0.0.5:9090", "10.0.0.6:9090"))
			// A whole answer contradicts what it leaves out.
			test.set(server, 5, 7)
			serves(t, sub, "10.0.0.5:9090", "10.0.0.6:9090", "10.0.0.7:9090")
			// A truncated answer without a record says nothing.
			server.Break(truncatedTo(0, test.qtype))
			stale := await(t, sub, "staleness", discovery.View.Stale)
			expect(t, stale.Snapshot, "10.0.0.5:9090", "10.0.0.6:9090", "10.0.0.7:9090")
		})
	}
}

func TestMoreSRVRecordsThanFitTCPAreAPart(t *testing.T) {
	server := startServer(t)
	manySRV(server, 10)
	sub := watch(t, quick(server), "headless:///quiz:grpc")
	if snapshot, err := sub.First(t.Context()); err != nil || len(snapshot.Endpoints) != 10 {
		t.Fatalf("%v, %v", snapshot, err)
	}
	manySRV(server, 2000)
	await(t, sub, "more than before, but not all", func(v discovery.View) bool {
		n := len(v.Snapshot.Endpoints)
		return v.Err == nil && n > 10 && n < 2000 && v.Snapshot.Degraded != nil
	})
	manySRV(server, 12)
	await(t, sub, "recovery", func(v discovery.View) bool {
		return v.Err == nil && len(v.Snapshot.Endpoints) == 12 && v.Snapshot.Degraded == nil
	})
}

// renamed answers with the records of the right name under another one, as a
// server does that rewrites questions and not answers.
func renamed(_ string, _, answer *miekg.Msg) []byte {
	for _, rr := range append(answer.Answer, answer.Ns...) {
		rr.Header().Name = "quiz.other.svc.cluster.local."
	}
	return pack(answer)
}

func TestRecordsOfAnotherNameAreNotTakenForNone(t *testing.T) {
	for _, target := range []string{"headless:///quiz:80", "headless:///quiz:grpc"} {
		server := threeHosts(t, time.Second)
		server.SetA(host, time.Second, ips("10.0.0.1")...)
		sub := watch(t, quick(server), target)
		before, err := sub.First(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		server.Break(renamed)
		stale := await(t, sub, "staleness", discovery.View.Stale)
		expect(t, stale.Snapshot, addrsOf(before)...)
		if !strings.Contains(stale.Err.Error(), "quiz.other") {
			t.Errorf("%s: error %v", target, stale.Err)
		}
		if err := resolveError(t, quick(server), target); errors.Is(err, discovery.ErrServiceNotFound) {
			t.Errorf("%s: at first: %v", target, err)
		}
	}
}
