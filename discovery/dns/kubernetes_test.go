package dns_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	miekg "github.com/miekg/dns"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/internal/dnstest"
)

// The tests of this file hold the source against the answers that CoreDNS gives
// for the shapes of a Service.

func TestAClusterIPIsServedAndReportedOnce(t *testing.T) {
	logged := captureLog(t)
	server := startServer(t)
	server.SetA(host, time.Minute, ips("10.96.0.7")...)
	server.SetSRV(srvName, time.Minute, dnstest.SRV{Target: strings.ToUpper(host), Port: 80})
	sub := watch(t, quick(server), "headless:///quiz:grpc")
	snapshot, err := sub.First(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	expect(t, snapshot, "10.96.0.7:80")
	if pod := snapshot.Endpoints[0].Pod; pod != "" {
		t.Errorf("pod %q, want none: the name is that of the Service", pod)
	}
	if d := snapshot.Degraded; d == nil || !strings.Contains(d.Error(), "cluster IP") {
		t.Errorf("degraded because %v, want that of the cluster IP", d)
	}
	awaitQueries(t, server, srvName, miekg.TypeSRV, 5)
	sub.Close()
	if n := strings.Count(logged(), "balances connections, not requests"); n != 1 || !strings.Contains(logged(), "quiz.kiada") {
		t.Errorf("%d warnings, want 1 that names the Service:\n%s", n, logged())
	}
}

func TestAClusterIPByPortNumberIsReportedWithoutDelay(t *testing.T) {
	logged := captureLog(t)
	server := startServer(t)
	server.SetA(host, time.Minute, ips("10.96.0.7")...)
	reverse := server.SetPTR(ips("10.96.0.7")[0], time.Minute, "other.kiada.svc.cluster.local", strings.ToUpper(host))
	reversed := make(chan struct{})
	server.Break(func(_ string, query, answer *miekg.Msg) []byte {
		if query.Question[0].Qtype != miekg.TypePTR {
			return pack(answer)
		}
		defer close(reversed)
		return nil // lost
	})
	config := quick(server)
	config.Timeout = 100 * time.Millisecond
	sub := watch(t, config, "headless:///quiz:80")
	if s, err := sub.First(t.Context()); err != nil || s.Degraded != nil {
		t.Fatalf("first %+v, %v", s, err)
	}
	<-reversed
	server.Heal()
	awaitQueries(t, server, host, miekg.TypeA, 5)
	if n := server.Queries(reverse, miekg.TypePTR); n != 1 || sub.View().Err != nil || sub.View().Snapshot.Degraded != nil {
		t.Errorf("%d queries for %s, which failed, and the view %+v; want 1 and silence", n, reverse, sub.View())
	}

	other := watch(t, quick(server), "headless:///quiz:80") // of another Source
	await(t, other, "the report", func(v discovery.View) bool {
		return v.Err == nil && v.Snapshot.Degraded != nil && strings.Contains(v.Snapshot.Degraded.Error(), "cluster IP")
	})
	expect(t, other.View().Snapshot, "10.96.0.7:80")
	server.SetA(host, time.Minute, ips("10.1.0.7")...) // made headless
	await(t, other, "the end of it", func(v discovery.View) bool { return v.Snapshot.Degraded == nil })
	other.Close()
	if n := strings.Count(logged(), "balances connections, not requests"); n != 1 {
		t.Errorf("%d warnings, want 1:\n%s", n, logged())
	}
}

func TestOnePodOfAHeadlessServiceIsNoClusterIP(t *testing.T) {
	logged := captureLog(t)
	server := startServer(t)
	server.SetA(host, time.Minute, ips("10.1.0.7")...)
	server.SetA("10-1-0-7."+host, time.Minute, ips("10.1.0.7")...)
	server.SetSRV(srvName, time.Minute, dnstest.SRV{Target: "10-1-0-7." + host, Port: 9090})
	expect(t, resolve(t, quick(server), "headless:///quiz:grpc"), "10.1.0.7:9090")
	server.SetPTR(ips("10.1.0.7")[0], time.Minute, "10-1-0-7."+host)
	lookUps(t, server, "headless:///quiz:9090", miekg.TypeA, host)

	server.SetA("db.example.com", time.Minute, ips("192.0.2.1")...)
	server.SetSRV("_grpc._tcp.db.example.com", time.Minute, dnstest.SRV{Target: "db.example.com", Port: 9090})
	expect(t, resolve(t, quick(server), "headless:///db.example.com:grpc"), "192.0.2.1:9090") // no Service at all
	if strings.Contains(logged(), "balances") {
		t.Errorf("warned:\n%s", logged())
	}
}

func TestTheTargetDotMeansDecidedlyNotAvailable(t *testing.T) {
	server := startServer(t)
	server.SetSRV(srvName, time.Minute, dnstest.SRV{Target: ".", Port: 0})
	snapshot := resolve(t, quick(server), "headless:///quiz:grpc")
	expect(t, snapshot)
	if r := snapshot.Reason; !errors.Is(r, discovery.ErrServiceNotFound) || !strings.Contains(r.Error(), "decidedly not available") {
		t.Errorf("reason %v", r)
	}
	onlyAsked(t, server, srvName+". SRV")
}

func TestSRVTargetsMatchTheirAddressesWithoutRegardToCase(t *testing.T) {
	server := startServer(t)
	server.SetSRV(srvName, time.Minute, dnstest.SRV{Target: "quiz-0." + host, Port: 9090})
	server.SetA("quiz-0."+host, time.Minute, ips("10.0.0.1")...)
	server.Break(func(_ string, _, answer *miekg.Msg) []byte {
		for _, rr := range answer.Answer {
			rr.Header().Name = strings.ToUpper(rr.Header().Name)
		}
		for _, rr := range answer.Extra {
			rr.Header().Name = strings.ToTitle(rr.Header().Name)
		}
		return pack(answer)
	})
	expect(t, resolve(t, quick(server), "headless:///quiz:grpc"), "10.0.0.1:9090")
	onlyAsked(t, server, srvName+". SRV")
}

func TestPodsOfOneServiceMayListenOnDifferentPorts(t *testing.T) {
	server := startServer(t)
	server.SetSRV(srvName, time.Minute, dnstest.SRV{Target: "a." + host, Port: 9090}, dnstest.SRV{Target: "b." + host, Port: 9091})
	server.SetA("a."+host, time.Minute, ips("10.0.0.1", "2001:db8::1")...) // dual stack
	server.SetA("b."+host, time.Minute, ips("10.0.0.2", "2001:db8::2")...)
	expect(t, resolve(t, quick(server), "headless:///quiz:grpc"), "10.0.0.1:9090", "10.0.0.2:9091")
}

func TestAnExternalNameHasNoPortNames(t *testing.T) {
	server := startServer(t)
	server.SetCNAME(host, time.Minute, "db.example.com")
	server.SetA("db.example.com", time.Minute, ips("192.0.2.1")...)
	expect(t, resolve(t, quick(server), "headless:///quiz:5432"), "192.0.2.1:5432")
	if reason := resolve(t, quick(server), "headless:///quiz:postgres").Reason; !errors.Is(reason, discovery.ErrPortNotFound) {
		t.Errorf("by port name: %v", reason)
	}
}

func TestAnUnsyncedServerIsAFailureNotAnAnswer(t *testing.T) {
	server := startServer(t)
	server.Break(dnstest.Fail(miekg.RcodeServerFailure)) // CoreDNS until it has read the API
	sub := watch(t, quick(server), "headless:///quiz:80")
	await(t, sub, "a failure without a Snapshot", func(v discovery.View) bool { return v.Err != nil && v.Snapshot == nil })
	server.SetA(host, time.Minute, ips("10.0.0.1")...)
	server.Heal()
	serves(t, sub, "10.0.0.1:80")
}

// manySRV gives the Service n pods with the names that CoreDNS makes for them.
func manySRV(server *dnstest.Server, n int) {
	records := make([]dnstest.SRV, 0, n)
	for i := range n {
		target := fmt.Sprintf("10-0-%d-%d.%s", i/256, i%256, host)
		records = append(records, dnstest.SRV{Target: target, Port: 9090})
		server.SetA(target, time.Minute, ips(fmt.Sprintf("10.0.%d.%d", i/256, i%256))...)
	}
	server.SetSRV(srvName, time.Minute, records...)
}

func TestAThousandSRVRecordsAreReadOverTCP(t *testing.T) {
	server := startServer(t)
	manySRV(server, 1000) // some 75 KB with all addresses: the server cuts them off at 64 KB, so they are looked up
	config := quick(server)
	config.MaxTTL = time.Minute
	begun := time.Now()
	if n := len(resolve(t, config, "headless:///quiz:grpc").Endpoints); n != 1000 {
		t.Errorf("%d endpoints, want 1000", n)
	}
	t.Logf("%v, %d different queries", time.Since(begun), len(server.Asked()))
	if d := time.Since(begun); d > 5*time.Second {
		t.Errorf("took %v", d)
	}
	if n := server.Queries(srvName, miekg.TypeSRV); n != 2 {
		t.Errorf("%d queries for the SRV records, want one over UDP and one over TCP", n)
	}
}

func TestTheAddressesInATruncatedAnswerAreNotReliedOn(t *testing.T) {
	server := startServer(t)
	server.SetSRV(srvName, time.Minute, dnstest.SRV{Target: "a." + host, Port: 9090}, dnstest.SRV{Target: "b." + host, Port: 9090})
	server.SetA("a."+host, time.Minute, ips("2001:db8::1", "10.0.0.1")...)
	server.SetA("b."+host, time.Minute, ips("10.0.0.2")...)
	server.Break(func(_ string, query, answer *miekg.Msg) []byte {
		if query.Question[0].Qtype == miekg.TypeSRV {
			answer.Truncated = true
			answer.Extra = slices.DeleteFunc(answer.Extra, func(rr miekg.RR) bool {
				return rr.Header().Rrtype == miekg.TypeA && strings.HasPrefix(rr.Header().Name, "a.")
			})
		}
		return pack(answer)
	})
	expect(t, resolve(t, quick(server), "headless:///quiz:grpc"), "10.0.0.1:9090", "10.0.0.2:9090")
}

// captureLog returns a function that returns what has been logged since.
func captureLog(t *testing.T) func() string {
	t.Helper()
	var mu sync.Mutex
	var text bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(writer(func(b []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return text.Write(b)
	}), nil)))
	t.Cleanup(func() { slog.SetDefault(before) })
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		return text.String()
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }
