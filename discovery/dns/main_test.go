package dns_test

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/dns"
	"github.com/sidestep-lb/sidestep/internal/dnstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// host is the name of the Service in most tests.
const host = "quiz.kiada.svc.cluster.local"

// soon is long enough for whatever has to happen at all.
const soon = 10 * time.Second

func startServer(t *testing.T) *dnstest.Server {
	t.Helper()
	server, err := dnstest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return server
}

// quick asks server every few milliseconds.
func quick(servers ...*dnstest.Server) dns.Config {
	config := dns.Config{
		Namespace: "kiada", Domain: "cluster.local",
		MinTTL: 5 * time.Millisecond, MaxTTL: 20 * time.Millisecond, HoldDown: 50 * time.Millisecond,
		Timeout: 2 * time.Second,
	}
	for _, s := range servers {
		config.Servers = append(config.Servers, s.Addr())
	}
	return config
}

func parse(t *testing.T, target string) discovery.Target {
	t.Helper()
	parsed, err := discovery.ParseTarget(target)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func resolve(t *testing.T, config dns.Config, target string) *discovery.Snapshot {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	snapshot, err := discovery.Resolve(ctx, dns.New(config), parse(t, target))
	if err != nil {
		t.Fatalf("resolve %s: %v", target, err)
	}
	return snapshot
}

// resolveError returns why target cannot be resolved at present.
func resolveError(t *testing.T, config dns.Config, target string) error {
	t.Helper()
	sub := watch(t, config, target)
	return await(t, sub, "an error", func(v discovery.View) bool { return v.Err != nil }).Err
}

func watch(t *testing.T, config dns.Config, target string) *discovery.Subscription {
	t.Helper()
	sub := discovery.Watch(dns.New(config), parse(t, target))
	t.Cleanup(sub.Close)
	return sub
}

// await returns the first View that is as it should be.
func await(t *testing.T, sub *discovery.Subscription, what string, good func(discovery.View) bool) discovery.View {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	for {
		view, err := sub.Next(ctx)
		if err != nil {
			t.Fatalf("waiting for %s: %v; the last view: %+v", what, err, sub.View())
		}
		if good(view) {
			return view
		}
	}
}

// serves waits until exactly addrs serve the target and nothing is stale.
func serves(t *testing.T, sub *discovery.Subscription, addrs ...string) {
	t.Helper()
	await(t, sub, "endpoints", func(v discovery.View) bool {
		return v.Err == nil && slices.Equal(addrsOf(v.Snapshot), addrs)
	})
}

// awaitQueries waits until server has been asked n times for name and type.
func awaitQueries(t *testing.T, server *dnstest.Server, name string, qtype uint16, n int) {
	t.Helper()
	for deadline := time.Now().Add(soon); server.Queries(name, qtype) < n; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d queries for %s, want %d", server.Queries(name, qtype), name, n)
		}
	}
}

func addrsOf(s *discovery.Snapshot) []string {
	var addrs []string
	for i := range s.Endpoints {
		addrs = append(addrs, s.Endpoints[i].Addr.String())
	}
	return addrs
}

func expect(t *testing.T, s *discovery.Snapshot, addrs ...string) {
	t.Helper()
	if got := addrsOf(s); !slices.Equal(got, addrs) {
		t.Errorf("got endpoints %v, want %v", got, addrs)
	}
}

func ips(addrs ...string) []netip.Addr {
	var ips []netip.Addr
	for _, a := range addrs {
		ips = append(ips, netip.MustParseAddr(a))
	}
	return ips
}
