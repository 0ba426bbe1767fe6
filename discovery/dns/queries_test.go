package dns_test

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	miekg "github.com/miekg/dns"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/dns"
	"github.com/sidestep-lb/sidestep/internal/dnstest"
)

// The tests of this file state what a target costs the DNS servers.

const srvName = "_grpc._tcp." + host

// lookUps makes a watch of target do its first look-up and two refreshes, none
// of which is repeated meanwhile.
func lookUps(t *testing.T, server *dnstest.Server, target string, counted uint16, name string) {
	t.Helper()
	config := quick(server)
	config.MaxTTL = time.Minute
	sub := watch(t, config, target)
	if _, err := sub.First(t.Context()); err != nil {
		t.Fatal(err)
	}
	for n := 2; n <= 3; n++ {
		sub.Refresh()
		awaitQueries(t, server, name, counted, n)
	}
	sub.Close() // waits for the last
}

func TestAPortNumberCostsOneQueryPerFamilyAndLookUp(t *testing.T) {
	for name, addrs := range map[string][]string{"IPv4": {"10.0.0.1", "10.0.0.2"}, "IPv6": {"2001:db8::1", "2001:db8::2"}} {
		t.Run(name, func(t *testing.T) {
			server := startServer(t)
			server.SetA(host, time.Minute, ips(addrs...)...)
			lookUps(t, server, "headless:///quiz:80", miekg.TypeA, host)
			a, aaaa := server.Queries(host, miekg.TypeA), server.Queries(host, miekg.TypeAAAA)
			if a != 3 || aaaa > 3 { // AAAA may be given up before it is sent once there is an IPv4 address
				t.Errorf("%d queries for A, %d for AAAA; want 3 of each", a, aaaa)
			}
			onlyAsked(t, server, host+". A", host+". AAAA")
		})
	}
}

func TestASoleAddressIsAskedAboutOnce(t *testing.T) {
	server := startServer(t)
	server.SetA(host, time.Minute, ips("10.0.0.1")...)
	reverse := server.SetPTR(ips("10.0.0.1")[0], time.Minute, "10-0-0-1."+host)
	lookUps(t, server, "headless:///quiz:80", miekg.TypeA, host)
	if n := server.Queries(reverse, miekg.TypePTR); n != 1 {
		t.Errorf("%d queries for %s in three look-ups, want 1", n, reverse)
	}
	onlyAsked(t, server, host+". A", host+". AAAA", reverse+" PTR")
}

func TestAPortNameCostsOneQueryPerLookUp(t *testing.T) {
	server := startServer(t)
	server.SetSRV(srvName, time.Minute, dnstest.SRV{Target: "a." + host, Port: 9090}, dnstest.SRV{Target: "b." + host, Port: 9090})
	server.SetA("a."+host, time.Minute, ips("10.0.0.1")...)
	server.SetA("b."+host, time.Minute, ips("10.0.0.2")...)
	lookUps(t, server, "headless:///quiz:grpc", miekg.TypeSRV, srvName)
	if n := server.Queries(srvName, miekg.TypeSRV); n != 3 {
		t.Errorf("%d queries in three look-ups, want 3", n)
	}
	onlyAsked(t, server, srvName+". SRV")
}

func TestNoNameOfTheSearchPathIsAskedForEvenWhenNothingIsFound(t *testing.T) {
	for target, want := range map[string][]string{
		"headless:///quiz:80":               {host + ". A", host + ". AAAA"},
		"headless:///quiz:grpc":             {srvName + ". SRV", host + ". A", host + ". AAAA"},
		"headless:///api.example.com:443":   {"api.example.com. A", "api.example.com. AAAA"},
		"headless:///api.example.com:https": {"_https._tcp.api.example.com. SRV", "api.example.com. A", "api.example.com. AAAA"},
	} {
		t.Run(target, func(t *testing.T) {
			server := startServer(t)
			expect(t, resolve(t, quick(server), target))
			onlyAsked(t, server, want...)
		})
	}
}

// onlyAsked accepts that some of allowed have not been asked for.
func onlyAsked(t *testing.T, server *dnstest.Server, allowed ...string) {
	t.Helper()
	for _, asked := range server.Asked() {
		if !slices.Contains(allowed, asked) {
			t.Errorf("a query for %s, want none but for %v", asked, allowed)
		}
	}
}

func TestAServerWithoutEDNSIsAskedWithoutItFromThenOn(t *testing.T) {
	for _, rcode := range []int{miekg.RcodeFormatError, miekg.RcodeNotImplemented} {
		t.Run(miekg.RcodeToString[rcode], func(t *testing.T) {
			server := startServer(t)
			server.SetA(host, time.Minute, ips("10.0.0.1")...)
			var refused atomic.Int32
			refuse := dnstest.RefuseEDNS(rcode)
			server.Break(func(network string, query, answer *miekg.Msg) []byte {
				if query.Question[0].Qtype == miekg.TypeAAAA {
					return pack(answer) // asked at the same time, this would blur the count
				}
				if query.IsEdns0() != nil {
					refused.Add(1)
				}
				return refuse(network, query, answer)
			})
			config := quick(server)
			config.MaxTTL = time.Minute
			source := dns.New(config)
			for range 3 {
				snapshot, err := discovery.Resolve(t.Context(), source, parse(t, "headless:///quiz:80"))
				if err != nil {
					t.Fatal(err)
				}
				expect(t, snapshot, "10.0.0.1:80")
			}
			if n := refused.Load(); n != 1 {
				t.Errorf("%d queries with EDNS0 in three look-ups, want 1", n)
			}
			if n := server.Queries(host, miekg.TypeA); n != 4 {
				t.Errorf("%d queries in three look-ups, want 4", n)
			}
		})
	}
}
