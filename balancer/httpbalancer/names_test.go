package httpbalancer_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidestep-lb/sidestep/balancer/httpbalancer"
	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/selection"
	"github.com/sidestep-lb/sidestep/discovery/topology"
)

// A placed source knows the domain of its cluster, and the client's namespace.
type placed struct {
	*source
	domain, namespace string
}

func (s placed) Domain() string { return s.domain }

func (s placed) Canonical(t discovery.Target) discovery.Target {
	if t.Namespace == "" {
		t.Namespace = s.namespace
	}
	if t.Domain == s.domain {
		t.Domain = ""
	}
	return t
}

func TestNamesOfOtherDomainsGoThroughTheBase(t *testing.T) {
	pod := start(t, "quiz-0", nil)
	var used bool
	transport := newTransport(t, httpbalancer.Config{Source: placed{serving(pod), "corp.example", "kiada"}, Base: through(&used)})
	client := &http.Client{Transport: transport}
	for host, want := range map[string]string{
		"quiz.kiada.svc.corp.example":      "quiz-0",
		"Quiz.Kiada.Svc.Corp.Example.":     "quiz-0",
		"quiz.kiada.svc":                   "quiz-0",
		"quiz.kiada":                       "quiz-0",
		"quiz":                             "quiz-0",
		"quiz.kiada.svc.clusterset.local":  "base",
		"quiz.kiada.svc.cluster.local":     "base",
		"quiz.kiada.svc.east.corp.example": "base",
		"quiz.kiada.svc.corp.example.com":  "base",
		"quiz.kiada.svc.example":           "base",
		"api.dev.":                         "base",
		"quiz.kiada.svc.":                  "base",
		"quiz.":                            "base",
	} {
		if got := get(t, client, "http://"+host+"/"); got != want {
			t.Errorf("%s: served by %s, want %s", host, got, want)
		}
	}
}

func TestHostsOfTheHostsFileGoThroughTheBase(t *testing.T) {
	file := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(file, []byte("127.0.0.9 quiz.kiada\n127.0.0.9 shop.kiada.svc.cluster.local shop\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	pod := start(t, "quiz-0", nil)
	var used bool
	transport := newTransport(t, httpbalancer.Config{Source: placed{serving(pod), "cluster.local", "kiada"}, Base: through(&used), Selection: selection.Config{HostsFile: file}})
	client := &http.Client{Transport: transport}
	for host, want := range map[string]string{
		"quiz.kiada": "base", "QUIZ.kiada:8080": "base", "shop": "base", "shop.kiada.svc.cluster.local": "base", "shop.kiada.svc.cluster.local.": "base",
		"quiz.kiada.svc": "quiz-0", "quiz": "quiz-0", "shop.kiada": "quiz-0", "shop.kiada.svc": "quiz-0",
	} {
		if got := get(t, client, "http://"+host+"/"); got != want {
			t.Errorf("%s: served by %s, want %s", host, got, want)
		}
	}
}

// silent is a DNS that never answers.
func silent(ctx context.Context, _ string) (bool, error) {
	<-ctx.Done()
	return false, ctx.Err()
}

func TestAServiceThatTheSourceKnowsIsReachedThoughDNSIsSilent(t *testing.T) {
	pod := start(t, "quiz-0", nil)
	var used bool
	transport := httpbalancer.NewWithLookup(httpbalancer.Config{Source: placed{serving(pod), "cluster.local", "kiada"}, Base: through(&used)}, silent)
	transport.AskDNSFirst()
	closeAtEnd(t, transport)
	client := &http.Client{Transport: transport}
	for _, host := range []string{"quiz", "quiz.kiada", "quiz.elsewhere"} { // in the client's namespace, and not
		if got := get(t, client, "http://"+host+"/"); got != "quiz-0" {
			t.Errorf("%s: served by %s", host, got)
		}
	}
}

func elapsed(t *testing.T, client *http.Client, host string) time.Duration {
	t.Helper()
	began := time.Now()
	if got := get(t, client, "http://"+host+"/"); got != "base" {
		t.Errorf("%s: served by %s", host, got)
	}
	return time.Since(began)
}

func TestWhileNobodyAnswersOnlyTheFirstRequestWaits(t *testing.T) {
	for name, view := range map[string]discovery.View{
		"silence":     {},
		"unreachable": {Err: errors.New("connection refused")},
		"forbidden":   {Err: fmt.Errorf("example: %w", discovery.ErrForbidden)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var used bool
				s := newSource()
				s.set(view)
				transport := httpbalancer.NewWithLookup(httpbalancer.Config{Source: placed{s, "cluster.local", "kiada"}, Base: through(&used)}, silent)
				transport.AskDNSFirst()
				defer transport.Close()
				client := &http.Client{Transport: transport}
				for _, host := range []string{"example.com", "intranet"} {
					if took := elapsed(t, client, host); took > 1500*time.Millisecond {
						t.Errorf("the first request to %s took %v", host, took)
					}
					for range 60 { // across the time that the question takes, and those after it
						if took := elapsed(t, client, host); took > 0 {
							t.Fatalf("a later request to %s took %v", host, took)
						}
						time.Sleep(time.Second) // of virtual time
					}
				}
			})
		})
	}
}

func TestAnOldAnswerIsUsedWhileANewOneIsFetched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var used bool
		var asked atomic.Int32
		lookup := func(ctx context.Context, host string) (bool, error) {
			if asked.Add(1) > 1 {
				return silent(ctx, host)
			}
			return false, nil
		}
		transport := httpbalancer.NewWithLookup(httpbalancer.Config{Source: newSource(), Base: through(&used)}, lookup)
		transport.AskDNSFirst()
		defer transport.Close()
		client := &http.Client{Transport: transport}
		for range 100 {
			if took := elapsed(t, client, "example.com"); took > 0 {
				t.Fatalf("a request took %v", took)
			}
			time.Sleep(time.Second) // of virtual time
		}
		if n := asked.Load(); n < 3 {
			t.Errorf("DNS was asked %d times", n)
		}
	})
}

func TestCloseEndsTheQuestionsAboutHosts(t *testing.T) {
	var used bool
	transport := httpbalancer.NewWithLookup(httpbalancer.Config{Source: newSource(), Base: through(&used)}, silent)
	transport.AskDNSFirst()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://example.com/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := transport.RoundTrip(req); err == nil {
		resp.Body.Close()
	}
	transport.Close() // and TestMain finds nothing left
}

// Somebody else's change of the policy to Local fails no client that worked.
func TestWithoutANodeRequestsToAServiceWithPolicyLocalGoThroughTheBase(t *testing.T) {
	t.Setenv("SIDESTEP_NODE", "")
	t.Setenv("NODE_NAME", "")
	pod, proxy := start(t, "quiz-0", nil), start(t, "cluster IP", nil)
	s := serving(pod)
	var used bool
	cluster := placed{s, "cluster.local", "kiada"}
	client := &http.Client{Transport: newTransport(t, httpbalancer.Config{Source: cluster, Base: through(&used)})}
	onNode := &http.Client{Transport: newTransport(t, httpbalancer.Config{Source: cluster, Base: through(&used), Selection: selection.Config{Locality: topology.Locality{Node: "node-1"}}})}
	elsewhere := &http.Client{Transport: newTransport(t, httpbalancer.Config{Source: cluster, Target: func(*url.URL) (discovery.Target, bool) {
		return discovery.Target{Scheme: discovery.SchemeKubernetes, Service: "quiz", Namespace: "kiada", Port: discovery.Port{Number: 80}}, true
	}})}
	for _, c := range []*http.Client{client, onNode, elsewhere} {
		if got := get(t, c, "http://quiz.kiada.svc/"); got != "quiz-0" {
			t.Errorf("with the policy Cluster: served by %s", got)
		}
	}

	local := discovery.NewSnapshot([]discovery.Endpoint{pod.endpoint()})
	local.Endpoints[0].Node = "node-1"
	local.LocalOnly, local.ClusterIP = true, netip.MustParseAddrPort(proxy.addr)
	s.set(discovery.View{Snapshot: local})
	for name, tt := range map[string]struct {
		client *http.Client
		want   string
	}{
		"node unknown": {client, "base"}, "node known": {onNode, "quiz-0"},
		"led there by a Target": {elsewhere, "cluster IP"}, // the base knows no way there by the URL's host
	} {
		eventually(t, name, func() bool { return get(t, tt.client, "http://quiz.kiada.svc/") == tt.want })
	}
	first := &http.Client{Transport: newTransport(t, httpbalancer.Config{Source: cluster, Base: through(&used)})}
	if got := get(t, first, "http://quiz.kiada.svc/"); got != "base" {
		t.Errorf("the first request of a client: served by %s", got)
	}
}

// No input makes a foreign name a Service of this cluster.
func FuzzHosts(f *testing.F) {
	f.Add("quiz.kiada.svc.cluster.local")
	f.Add("quiz.kiada.svc.clusterset.local")
	f.Add("quiz.kiada.svc.CLUSTER.local.")
	f.Add("api.dev.")
	transport := httpbalancer.New(httpbalancer.Config{Source: placed{newSource(), "cluster.local", "kiada"}, Selection: selection.Config{HostsFile: "/nowhere"}})
	defer transport.Close()
	f.Fuzz(func(t *testing.T, host string) {
		u := &url.URL{Scheme: "http", Host: host}
		target, ok := transport.Service(u)
		if !ok {
			return
		}
		name := strings.ToLower(u.Hostname())
		short := target.Service + "." + target.Namespace
		switch name {
		case target.Service, short, short + ".svc", short + ".svc.cluster.local", short + ".svc.cluster.local.":
		default:
			t.Errorf("%q is the Service %v", host, target)
		}
	})
}
