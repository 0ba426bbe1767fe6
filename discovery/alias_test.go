package discovery_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/dns"
	"github.com/sidestep-lb/sidestep/discovery/kube"
	"github.com/sidestep-lb/sidestep/discovery/kube/kubetest"
	"github.com/sidestep-lb/sidestep/internal/dnstest"
)

// A pair is an API server and a DNS server, with the Fallback from one to the
// other.
type pair struct {
	api    *kubetest.Server
	dns    *dnstest.Server
	source discovery.Source
}

func newPair(t *testing.T) *pair {
	t.Helper()
	server, err := dnstest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	p := &pair{api: kubetest.Start(), dns: server}
	t.Cleanup(p.api.Close)
	p.source = discovery.Fallback(
		kube.New(kube.Config{Host: p.api.URL(), Client: p.api.Client(), Namespace: "kiada"}),
		dns.New(dns.Config{
			Servers: []string{server.Addr()}, Namespace: "kiada", Domain: "cluster.local",
			MinTTL: 5 * time.Millisecond, MaxTTL: 20 * time.Millisecond, HoldDown: 50 * time.Millisecond,
		}),
	)
	return p
}

// setAlias makes the Service db an alias of a host.
func (p *pair) setAlias(host string, ports ...kubetest.ServicePort) {
	alias := kubetest.ExternalNameService("kiada", "db", host)
	alias.Spec.Ports = ports
	p.api.SetService(alias)
}

func (p *pair) setA(host, addr string) {
	p.dns.SetA(host, time.Minute, netip.MustParseAddr(addr))
}

// awaits returns the first View in which these addresses serve, and which is
// not stale.
func awaits(t *testing.T, sub *discovery.Subscription, want string) *discovery.Snapshot {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		view, err := sub.Next(ctx)
		if err != nil {
			t.Fatalf("waiting for %q: %v; the last view: %+v", want, err, sub.View())
		}
		if view.Err == nil && addrs(view.Snapshot) == want {
			return view.Snapshot
		}
	}
}

func (p *pair) watch(t *testing.T, name string) *discovery.Subscription {
	t.Helper()
	sub := discovery.Watch(p.source, target(t, name))
	t.Cleanup(sub.Close)
	return sub
}

func TestAnExternalNameIsServedByDNSForAsLongAsItIsOne(t *testing.T) {
	p := newPair(t)
	p.setAlias("db.example.com")
	p.setA("db.example.com", "192.0.2.1")
	p.setA("db2.example.com", "192.0.2.2")
	sub := p.watch(t, "k8s:///db:5432")
	if s := awaits(t, sub, "192.0.2.1:5432"); s.Degraded != nil {
		t.Errorf("degraded: %v; this is all that was asked for", s.Degraded)
	}
	p.setA("db.example.com", "192.0.2.9") // the host moves
	awaits(t, sub, "192.0.2.9:5432")
	p.setAlias("db2.example.com") // the alias
	awaits(t, sub, "192.0.2.2:5432")

	p.api.SetService(kubetest.ClusterIPService("kiada", "db", kubetest.Ports{"sql": 5432})) // the database itself
	p.api.SetEndpointSlice(kubetest.Slice("kiada", "db", "db-a", kubetest.Ports{"sql": 15432}, kubetest.Ready("10.0.0.1", "db-0")))
	awaits(t, sub, "10.0.0.1:15432 (db-0)")
	asked := p.dns.Queries("db2.example.com", 1)
	p.setAlias("db.example.com") // and back
	awaits(t, sub, "192.0.2.9:5432")
	if n := p.dns.Queries("db2.example.com", 1); n != asked {
		t.Errorf("the host of the old alias was asked for %d times more", n-asked)
	}
}

func TestThePortOfAnExternalNameIsTheTargetsOrTheOneListed(t *testing.T) {
	p := newPair(t)
	p.setA("db.example.com", "192.0.2.1")
	p.dns.SetSRV("_web._tcp.db.example.com", time.Minute, dnstest.SRV{Target: "db.example.com", Port: 8080})
	p.setAlias("db.example.com.", kubetest.ServicePort{Name: "sql", Port: 5432})
	for name, want := range map[string]string{
		"k8s:///db":      "192.0.2.1:5432", // the only one
		"k8s:///db:sql":  "192.0.2.1:5432", // as listed
		"k8s:///db:6432": "192.0.2.1:6432", // as the target has it
		"k8s:///db:web":  "192.0.2.1:8080",
	} {
		awaits(t, p.watch(t, name), want)
	}
	p.setAlias("db.example.com")
	s := awaits(t, p.watch(t, "k8s:///db"), "")
	if !errors.Is(s.Reason, discovery.ErrPortNotFound) {
		t.Errorf("an alias without a port: reason %v", s.Reason)
	}
}

func TestAnExternalNameThatLeadsNowhereSaysSo(t *testing.T) {
	for _, host := range []string{"db.example.com", "localhost", strings.Repeat("x", 64) + ".example", "a..b", `\`, ""} {
		p := newPair(t)
		p.setA("localhost", "127.0.0.1")
		p.setAlias(host)
		sub := p.watch(t, "k8s:///db:5432")
		view, err := sub.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if view.Snapshot == nil {
			err = view.Err
		} else {
			err = view.Snapshot.Unusable(sub.Target())
		}
		if err == nil || !strings.Contains(err.Error(), host) || view.Snapshot != nil && !errors.Is(err, discovery.ErrNoEndpoints) {
			t.Errorf("alias of %q: %v", host, err)
		}
	}
}

// An aliasError is the Reason of a Service that is an alias.
type aliasError struct{ host string }

func (e aliasError) Error() string { return "an alias of " + e.host }
func (e aliasError) Alias() discovery.Target {
	return discovery.Target{Scheme: discovery.SchemeHeadless, Name: e.host}
}

func aliasOf(host string) *discovery.Snapshot {
	return &discovery.Snapshot{Reason: fmt.Errorf("quiz: %w", aliasError{host})}
}

func TestAnAliasOutlivesAnOutageOfThePrimaryAndIsDegraded(t *testing.T) {
	withFallback(t, func(t *testing.T, sub *discovery.Subscription, primary, secondary *hand) {
		p := <-primary.receivers
		p.Update(aliasOf("a"))
		s := <-secondary.receivers
		s.Update(snapshot("10.0.0.1:80"))
		p.Error(errDown)
		p.Error(errDown)
		s.Update(snapshot("10.0.0.2:80"))
		if v := sub.View(); addrs(v.Snapshot) != "10.0.0.2:80" || v.Err != nil || !errors.Is(v.Snapshot.Degraded, errDown) {
			t.Errorf("view %+v in the outage, want that of the secondary, degraded", v)
		}
		p.Update(aliasOf("a"))
		s.Update(snapshot("10.0.0.2:80"))
		if v := sub.View(); v.Snapshot.Degraded != nil || secondary.runs.Load() != 1 {
			t.Errorf("view %+v after %d runs of the secondary, want no trace of the outage", v, secondary.runs.Load())
		}
		s.Error(errDown)
		if v := sub.View(); addrs(v.Snapshot) != "10.0.0.2:80" || !v.Stale() {
			t.Errorf("view %+v when the secondary fails, want the last Snapshot, stale", v)
		}
	})
}

func TestWhatIsKnownIsKeptUntilTheAliasIsResolved(t *testing.T) {
	withFallback(t, func(t *testing.T, sub *discovery.Subscription, primary, secondary *hand) {
		p := <-primary.receivers
		p.Error(discovery.ErrForbidden)
		old := <-secondary.receivers
		old.Update(snapshot("10.0.0.1:80"))
		p.Update(aliasOf("a"))
		if secondary.ended.Load() != 1 {
			t.Error("the secondary goes on standing in for the primary")
		}
		old.Update(snapshot("10.0.0.9:80")) // too late
		s := <-secondary.receivers
		s.Error(errDown)
		if v := sub.View(); addrs(v.Snapshot) != "10.0.0.1:80" || !errors.Is(v.Err, errDown) {
			t.Errorf("view %+v, want what was known, stale", v)
		}
		s.Update(&discovery.Snapshot{Reason: discovery.ErrServiceNotFound})
		if v := sub.View(); len(v.Snapshot.Endpoints) != 0 || v.Snapshot.Degraded != nil ||
			!strings.Contains(v.Snapshot.Reason.Error(), "an alias of a; no such service") {
			t.Errorf("view %+v, want it empty, and why", v)
		}
	})
}

func TestThereIsNoFallbackForATargetWithAVia(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		primary, secondary := newHand(), newHand()
		sub := discovery.Watch(discovery.Fallback(primary, secondary), target(t, "k8s:///quiz.kiada:80?via=nodeport"))
		defer sub.Close()
		(<-primary.receivers).Error(errDown)
		if v := sub.View(); secondary.runs.Load() != 0 || !errors.Is(v.Err, errDown) {
			t.Errorf("view %+v after %d runs of the secondary", v, secondary.runs.Load())
		}
	})
}
