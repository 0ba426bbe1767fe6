package dns_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	miekg "github.com/miekg/dns"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/internal/dnstest"
)

// weightsOf returns ADDRESS=WEIGHT of all endpoints.
func weightsOf(s *discovery.Snapshot) []string {
	var weights []string
	for _, e := range s.Endpoints {
		weights = append(weights, fmt.Sprintf("%v=%d", e.Addr.Addr(), e.Weight))
	}
	return weights
}

func TestWeightsOfSRVRecordsCountWhereTheyDiffer(t *testing.T) {
	server := startServer(t)
	server.SetA("a."+host, time.Minute, ips("10.0.0.1")...)
	server.SetA("b."+host, time.Minute, ips("10.0.0.2")...)
	for _, test := range []struct {
		a, b uint16
		want []string
	}{
		{50, 50, []string{"10.0.0.1=0", "10.0.0.2=0"}}, // as CoreDNS answers
		{10, 65535, []string{"10.0.0.1=10", "10.0.0.2=65535"}},
	} {
		server.SetSRV(srvName, time.Minute,
			dnstest.SRV{Target: "a." + host, Port: 80, Weight: test.a}, dnstest.SRV{Target: "b." + host, Port: 80, Weight: test.b})
		if got := weightsOf(resolve(t, quick(server), "headless:///quiz:grpc")); !slices.Equal(got, test.want) {
			t.Errorf("SRV weights %d and %d: %v, want %v", test.a, test.b, got, test.want)
		}
	}
}

func TestTheLowestPriorityOfSRVRecordsIsUsed(t *testing.T) {
	server := startServer(t)
	server.SetSRV(srvName, time.Minute,
		dnstest.SRV{Target: "spare." + host, Port: 82, Priority: 20, Weight: 9},
		dnstest.SRV{Target: "a." + host, Port: 80, Priority: 10, Weight: 5},
		dnstest.SRV{Target: "b." + host, Port: 81, Priority: 10, Weight: 5})
	server.SetA("spare."+host, time.Minute, ips("10.0.0.3")...)
	server.SetA("a."+host, time.Minute, ips("10.0.0.1")...)
	server.SetA("b."+host, time.Minute, ips("10.0.0.2")...)
	snapshot := resolve(t, quick(server), "headless:///quiz:grpc")
	expect(t, snapshot, "10.0.0.1:80", "10.0.0.2:81")
	if got := weightsOf(snapshot); !slices.Equal(got, []string{"10.0.0.1=0", "10.0.0.2=0"}) {
		t.Errorf("%v, want no weights: those of the priority are equal", got)
	}

	server.Break(dnstest.NoAdditional)
	expect(t, resolve(t, quick(server), "headless:///quiz:grpc"), "10.0.0.1:80", "10.0.0.2:81")
	if n := server.Queries("spare."+host, miekg.TypeA); n > 0 {
		t.Errorf("%d queries for a host that is not needed", n)
	}

	server.Remove("a." + host)
	server.Remove("b." + host)
	expect(t, resolve(t, quick(server), "headless:///quiz:grpc"), "10.0.0.3:82")
}
