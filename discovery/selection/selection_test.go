package selection_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/dns"
	"github.com/sidestep-lb/sidestep/discovery/kube"
	"github.com/sidestep-lb/sidestep/discovery/selection"
	"github.com/sidestep-lb/sidestep/discovery/static"
	"github.com/sidestep-lb/sidestep/discovery/topology"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen.
const patience = 10 * time.Second

// A source has one Snapshot for all targets, and counts its runs.
type source struct {
	snapshot *discovery.Snapshot
	runs     atomic.Int32
}

func (s *source) Watch(ctx context.Context, _ discovery.Target, r discovery.Receiver) {
	s.runs.Add(1)
	r.Update(s.snapshot)
	<-ctx.Done()
}

func endpoint(addr, zone string) discovery.Endpoint {
	return discovery.Endpoint{Addr: netip.MustParseAddrPort(addr), Zone: zone, Ready: true, Serving: true}
}

func twoZones() *source {
	return &source{snapshot: discovery.NewSnapshot([]discovery.Endpoint{endpoint("10.0.0.1:80", "a"), endpoint("10.0.0.2:80", "b"), endpoint("10.0.0.3:80", "a")})}
}

func quiz(t *testing.T) discovery.Target {
	t.Helper()
	target, err := discovery.ParseTarget("k8s:///quiz.kiada:80")
	if err != nil {
		t.Fatal(err)
	}
	return target
}

// next returns the first View of a subscription as "address/priority …".
func next(t *testing.T, s *selection.Subscription) (selection.View, string) {
	t.Helper()
	t.Cleanup(s.Close)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	view, err := s.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var text []string
	for _, e := range view.Endpoints {
		text = append(text, e.Addr.String()+strings.Repeat("'", int(e.Priority)))
	}
	return view, strings.Join(text, " ")
}

func TestAnImpossibleConfigIsAnErrorThatNamesTheFieldOnce(t *testing.T) {
	for want, config := range map[string]selection.Config{
		"SubsetSize: -1 is negative": {SubsetSize: -1},
		"SubsetPeers: ":              {SubsetPeers: "shop"},
	} {
		err := config.Validate()
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Count(err.Error(), strings.TrimSuffix(want, " is negative")) != 1 {
			t.Errorf("got %q, want it to begin with %q", err, want)
		}
	}
	var malformed *discovery.TargetError
	if err := (selection.Config{SubsetPeers: "shop"}).Validate(); !errors.As(err, &malformed) {
		t.Errorf("%v is no *discovery.TargetError", err)
	}
	if err := (selection.Config{}).Validate(); err != nil {
		t.Errorf("the zero value: %v", err)
	}
}

func TestTheConfigDecidesWhichEndpointsAreUsed(t *testing.T) {
	inB := topology.Locality{Node: "node-7", Zone: "b"}
	for _, c := range []struct {
		config selection.Config
		want   string
	}{
		{selection.Config{}, "10.0.0.1:80 10.0.0.2:80 10.0.0.3:80"},
		{selection.Config{Locality: inB}, "10.0.0.1:80 10.0.0.2:80 10.0.0.3:80"},
		{selection.Config{Locality: inB, SpillOver: true}, "10.0.0.2:80 10.0.0.1:80' 10.0.0.3:80'"},
	} {
		view, got := next(t, selection.New(twoZones(), c.config, nil).Subscribe(quiz(t), "quiz.kiada"))
		if got != c.want || !view.Changed || view.ThroughClusterIP {
			t.Errorf("%+v: got %s, changed %v, through the cluster IP %v; want %s", c.config, got, view.Changed, view.ThroughClusterIP, c.want)
		}
	}
	view, _ := next(t, selection.New(twoZones(), selection.Config{SubsetSize: 2}, nil).Subscribe(quiz(t), ""))
	if len(view.Endpoints) != 2 {
		t.Errorf("a subset of 2 has %d endpoints", len(view.Endpoints))
	}
}

func TestClientsThatSelectDifferentlyShareOneWatch(t *testing.T) {
	s := twoZones()
	next(t, selection.New(s, selection.Config{}, nil).Subscribe(quiz(t), ""))
	next(t, selection.New(s, selection.Config{SubsetSize: 1, SubsetPeers: "k8s:///quiz.kiada:80"}, nil).Subscribe(quiz(t), ""))
	if n := s.runs.Load(); n != 1 {
		t.Errorf("the source runs %d times", n)
	}
}

func TestANameOfTheHostsFileIsServedByIt(t *testing.T) {
	file := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(file, []byte("10.9.9.9 quiz.kiada\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	selector := selection.New(twoZones(), selection.Config{HostsFile: file}, nil)
	for host, want := range map[string]string{
		"quiz.kiada":     "10.9.9.9:80",
		"quiz.kiada.svc": "10.0.0.1:80 10.0.0.2:80 10.0.0.3:80",
		"":               "10.0.0.1:80 10.0.0.2:80 10.0.0.3:80",
	} {
		if _, got := next(t, selector.Subscribe(quiz(t), host)); got != want {
			t.Errorf("%q: %s, want %s", host, got, want)
		}
	}
}

func TestWhoDoesNotKnowItsNodeGoesThroughTheClusterIPOfALocalServiceAndLogsIt(t *testing.T) {
	s := twoZones()
	s.snapshot.LocalOnly, s.snapshot.ClusterIP = true, netip.MustParseAddrPort("10.96.0.7:80")
	var log bytes.Buffer
	t.Setenv("SIDESTEP_NODE", "")
	t.Setenv("NODE_NAME", "")
	view, got := next(t, selection.New(s, selection.Config{}, slog.New(slog.NewTextHandler(&log, nil))).Subscribe(quiz(t), ""))
	if got != "10.96.0.7:80" || !view.ThroughClusterIP {
		t.Errorf("got %s, through the cluster IP %v", got, view.ThroughClusterIP)
	}
	if !strings.Contains(log.String(), "cluster_ip=10.96.0.7:80") || !strings.Contains(log.String(), "SIDESTEP_NODE") {
		t.Errorf("the given logger has %q", log.String())
	}
}

func TestEachSchemeHasItsDefaultSourceWhichAllClientsShare(t *testing.T) {
	for scheme, want := range map[string]discovery.Source{
		discovery.SchemeKubernetes: discovery.Fallback(kube.InCluster(), dns.System()),
		discovery.SchemeHeadless:   dns.System(),
		discovery.SchemeStatic:     static.Source{},
	} {
		if got := selection.New(nil, selection.Config{}, nil).Source(scheme); got != want {
			t.Errorf("%s: %T, want %T", scheme, got, want)
		}
	}
}
