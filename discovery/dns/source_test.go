package dns_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	miekg "github.com/miekg/dns"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/dns"
	"github.com/sidestep-lb/sidestep/internal/dnstest"
)

func TestANumberIsThePortOfThePods(t *testing.T) {
	server := startServer(t)
	server.SetA(host, time.Minute, ips("10.0.0.2", "10.0.0.1")...)

	snapshot := resolve(t, quick(server), "headless:///quiz.kiada:8080")
	expect(t, snapshot, "10.0.0.1:8080", "10.0.0.2:8080")
	for _, e := range snapshot.Endpoints {
		if !e.Ready || !e.Serving || e.Terminating {
			t.Errorf("%v is not ready and serving: %+v", &e, e)
		}
	}
}

func TestOnlyTheAbsoluteNameIsAskedFor(t *testing.T) {
	server := startServer(t)
	server.SetA(host, time.Minute, ips("10.0.0.1")...)

	for _, target := range []string{"quiz", "quiz.kiada", "quiz.kiada.svc", "quiz.kiada.svc.cluster.local"} {
		expect(t, resolve(t, quick(server), "headless:///"+target+":80"), "10.0.0.1:80")
	}
	for _, wrong := range []string{"quiz", "quiz.kiada", "quiz.kiada.svc", host + ".kiada.svc.cluster.local"} {
		if n := server.Queries(wrong, miekg.TypeA); n > 0 {
			t.Errorf("%d queries for %s", n, wrong)
		}
	}
}

func TestAllSpellingsOfAServiceShareOneWatch(t *testing.T) {
	server := startServer(t)
	server.SetA(host, time.Minute, ips("10.0.0.1")...)
	config := quick(server)
	config.MaxTTL = time.Minute // one look-up for one watch
	source := dns.New(config)

	for _, target := range []string{"headless:///quiz:80", "headless:///quiz.kiada:80", "headless:///quiz.kiada.svc.cluster.local:80"} {
		sub := discovery.Watch(source, parse(t, target))
		defer sub.Close()
		serves(t, sub, "10.0.0.1:80")
	}
	if n := server.Queries(host, miekg.TypeA); n != 1 {
		t.Errorf("%d queries, want 1", n)
	}
}

func TestAHostThatIsNoServiceIsLookedUpAsItIs(t *testing.T) {
	server := startServer(t)
	server.SetA("db.example.com", time.Minute, ips("192.0.2.1")...)
	expect(t, resolve(t, quick(server), "headless:///db.example.com:5432"), "192.0.2.1:5432")
}

func TestNamesMatchWithoutRegardToCase(t *testing.T) {
	server := startServer(t)
	server.SetA(host, time.Minute, ips("10.0.0.1")...)
	server.Break(func(_ string, _, answer *miekg.Msg) []byte {
		answer.Question[0].Name = strings.ToUpper(answer.Question[0].Name)
		for _, rr := range answer.Answer {
			rr.Header().Name = strings.ToUpper(rr.Header().Name)
		}
		return pack(answer)
	})
	expect(t, resolve(t, quick(server), "headless:///quiz:80"), "10.0.0.1:80")
}

func TestIPv6IsUsedWhereThereIsNoIPv4(t *testing.T) {
	server := startServer(t)
	server.SetA(host, time.Minute, ips("2001:db8::2", "2001:db8::1")...)
	expect(t, resolve(t, quick(server), "headless:///quiz:80"), "[2001:db8::1]:80", "[2001:db8::2]:80")

	server.SetA(host, time.Minute, ips("2001:db8::1", "10.0.0.1")...)
	expect(t, resolve(t, quick(server), "headless:///quiz:80"), "10.0.0.1:80")
}

func TestAPortNameIsAnSRVLookup(t *testing.T) {
	server := startServer(t)
	server.SetSRV("_grpc._tcp."+host, time.Minute,
		dnstest.SRV{Target: "quiz-0." + host, Port: 9090},
		dnstest.SRV{Target: "10-0-0-2." + host, Port: 9091},
		dnstest.SRV{Target: "quiz-0." + host, Port: 9090}, // again
	)
	server.SetA("quiz-0."+host, time.Minute, ips("10.0.0.1")...)
	server.SetA("10-0-0-2."+host, time.Minute, ips("10.0.0.2")...)

	for _, test := range []struct {
		name  string
		fault dnstest.Fault
		asked int
	}{
		{"with the addresses in the additional section", nil, 0},
		{"with the addresses looked up", dnstest.NoAdditional, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			server.Break(test.fault)
			config := quick(server)
			config.MaxTTL = time.Minute // one look-up, to count its queries
			snapshot := resolve(t, config, "headless:///quiz:grpc")
			expect(t, snapshot, "10.0.0.1:9090", "10.0.0.2:9091")
			if pod := snapshot.Endpoints[0].Pod; pod != "quiz-0" {
				t.Errorf("pod %q, want quiz-0", pod)
			}
			if pod := snapshot.Endpoints[1].Pod; pod != "" {
				t.Errorf("pod %q, want none: the label is an IP address", pod)
			}
			if n := server.Queries("quiz-0."+host, miekg.TypeA); n != test.asked {
				t.Errorf("%d queries for the target, want %d", n, test.asked)
			}
		})
	}
}

func TestAnSRVTargetThatHasGoneIsLeftOut(t *testing.T) {
	server := startServer(t)
	server.SetSRV("_grpc._tcp."+host, time.Minute,
		dnstest.SRV{Target: "a." + host, Port: 9090}, dnstest.SRV{Target: "b." + host, Port: 9090}, dnstest.SRV{Target: ".", Port: 9090})
	server.SetA("a."+host, time.Minute, ips("10.0.0.1")...)
	expect(t, resolve(t, quick(server), "headless:///quiz:grpc"), "10.0.0.1:9090")

	server.Remove("a." + host)
	snapshot := resolve(t, quick(server), "headless:///quiz:grpc")
	expect(t, snapshot)
	if !errors.Is(snapshot.Reason, discovery.ErrServiceNotFound) {
		t.Errorf("reason %v", snapshot.Reason)
	}
}

func TestManySRVTargetsAreLookedUp(t *testing.T) {
	server := startServer(t)
	server.Break(dnstest.NoAdditional)
	var records []dnstest.SRV
	for i := range 100 {
		target := fmt.Sprintf("pod-%d.%s", i, host)
		records = append(records, dnstest.SRV{Target: target, Port: 9090})
		server.SetA(target, time.Minute, ips(fmt.Sprintf("10.0.0.%d", i))...)
	}
	server.SetSRV("_grpc._tcp."+host, time.Minute, records...)
	if n := len(resolve(t, quick(server), "headless:///quiz:grpc").Endpoints); n != 100 {
		t.Errorf("%d endpoints, want 100", n)
	}
}

func TestATargetWithoutAPortSaysWhatToAdd(t *testing.T) {
	server := startServer(t)
	reason := resolve(t, quick(server), "headless:///quiz").Reason
	if !errors.Is(reason, discovery.ErrPortNotFound) || !strings.Contains(reason.Error(), "add the port's name") {
		t.Errorf("reason %v", reason)
	}
}

func TestAServiceWithoutThatPortIsToldFromNoService(t *testing.T) {
	server := startServer(t)
	reason := resolve(t, quick(server), "headless:///quiz:grpc").Reason
	if !errors.Is(reason, discovery.ErrServiceNotFound) || !strings.Contains(reason.Error(), "NXDOMAIN") {
		t.Errorf("without the Service: %v", reason)
	}
	server.SetA(host, time.Minute, ips("10.0.0.1")...)
	reason = resolve(t, quick(server), "headless:///quiz:grpc").Reason
	if !errors.Is(reason, discovery.ErrPortNotFound) || !strings.Contains(reason.Error(), "grpc") {
		t.Errorf("with the Service: %v", reason)
	}
}

func TestANameWithoutAddressesIsEmptyAndSaysWhy(t *testing.T) {
	server := startServer(t)
	for answer, prepare := range map[string]func(){
		"NXDOMAIN":   func() { server.Remove(host) },
		"no records": func() { server.SetA(host, time.Minute) },
	} {
		prepare()
		snapshot := resolve(t, quick(server), "headless:///quiz:80")
		expect(t, snapshot)
		if r := snapshot.Reason; !errors.Is(r, discovery.ErrServiceNotFound) ||
			!strings.Contains(r.Error(), answer) || !strings.Contains(r.Error(), "none of its pods is ready") {
			t.Errorf("%s: reason %v", answer, r)
		}
	}
}

func TestAliasesAreFollowed(t *testing.T) {
	server := startServer(t)
	server.SetCNAME(host, time.Minute, "quiz.example.com")
	server.SetCNAME("quiz.example.com", time.Minute, "db.example.com")
	server.SetA("db.example.com", time.Minute, ips("192.0.2.1")...)

	t.Run("within one answer", func(t *testing.T) {
		expect(t, resolve(t, quick(server), "headless:///quiz:80"), "192.0.2.1:80")
		if n := server.Queries("db.example.com", miekg.TypeA); n != 0 {
			t.Errorf("%d queries for the end of the chain", n)
		}
	})
	t.Run("by asking again", func(t *testing.T) {
		server.Break(func(_ string, _, answer *miekg.Msg) []byte {
			answer.Answer = answer.Answer[:min(1, len(answer.Answer))]
			return pack(answer)
		})
		defer server.Heal()
		expect(t, resolve(t, quick(server), "headless:///quiz:80"), "192.0.2.1:80")
	})
	t.Run("to nothing", func(t *testing.T) {
		server.Remove("db.example.com")
		expect(t, resolve(t, quick(server), "headless:///quiz:80"))
	})
	t.Run("but not for ever", func(t *testing.T) {
		server.SetCNAME("db.example.com", time.Minute, host)
		if err := resolveError(t, quick(server), "headless:///quiz:80"); !strings.Contains(err.Error(), "aliases") {
			t.Errorf("error %v", err)
		}
	})
}

func TestAddressesThatNoPodHasAreRefused(t *testing.T) {
	server := startServer(t)
	server.SetA(host, time.Minute, ips("127.0.0.1", "10.0.0.1", "169.254.169.254", "10.0.0.1")...)
	expect(t, resolve(t, quick(server), "headless:///quiz:80"), "10.0.0.1:80")

	server.SetA(host, time.Minute, ips("127.0.0.1")...)
	if err := resolveError(t, quick(server), "headless:///quiz:80"); !strings.Contains(err.Error(), "loopback") {
		t.Errorf("error %v", err)
	}

	config := quick(server)
	config.AllowLocalAddresses = true
	expect(t, resolve(t, config, "headless:///quiz:80"), "127.0.0.1:80")
}

func TestChangesAreSeenWhenTheTTLIsOver(t *testing.T) {
	server := startServer(t)
	server.SetA(host, time.Second, ips("10.0.0.1")...)
	sub := watch(t, quick(server), "headless:///quiz:80")
	serves(t, sub, "10.0.0.1:80")
	server.SetA(host, time.Second, ips("10.0.0.1", "10.0.0.2")...)
	serves(t, sub, "10.0.0.1:80", "10.0.0.2:80")
	server.Remove(host)
	serves(t, sub)
	server.SetA(host, time.Second, ips("10.0.0.3")...)
	serves(t, sub, "10.0.0.3:80")
}

func TestTheProcessHasOneSystemSource(t *testing.T) {
	if one, two := dns.System(), dns.System(); one != two {
		t.Error("two of them")
	}
}

func TestTheNameOfAKubernetesTargetIsServedAsWell(t *testing.T) {
	server := startServer(t)
	server.SetA(host, time.Minute, ips("10.96.0.7")...)
	expect(t, resolve(t, quick(server), "k8s:///quiz:80"), "10.96.0.7:80")
}

func TestAStaticTargetIsNotServed(t *testing.T) {
	server := startServer(t)
	if err := resolveError(t, quick(server), "static:///10.0.0.1:80"); !errors.Is(err, discovery.ErrUnavailable) {
		t.Errorf("error %v", err)
	}
}
