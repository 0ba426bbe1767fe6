package kube_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/kube"
	"github.com/sidestep-lb/sidestep/discovery/kube/kubetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come soon.
const patience = 20 * time.Second

// newServer returns an API server with the Service quiz in namespace kiada.
func newServer(t *testing.T) *kubetest.Server {
	t.Helper()
	server := kubetest.Start()
	t.Cleanup(server.Close)
	server.SetService(kubetest.ClusterIPService("kiada", "quiz", kubetest.Ports{"grpc": 80}))
	return server
}

// setSlice gives quiz a slice with port grpc and these endpoints.
func setSlice(server *kubetest.Server, name string, endpoints ...kubetest.Endpoint) {
	server.SetEndpointSlice(kubetest.Slice("kiada", "quiz", name, kubetest.Ports{"grpc": 8080}, endpoints...))
}

func newSource(server *kubetest.Server) *kube.Source {
	return kube.NewForTest(kube.Config{Host: server.URL(), Client: server.Client(), Namespace: "kiada"}, "/nowhere")
}

func parse(t *testing.T, s string) discovery.Target {
	t.Helper()
	target, err := discovery.ParseTarget(s)
	if err != nil {
		t.Fatal(err)
	}
	return target
}

func watch(t *testing.T, source *kube.Source, target string) *discovery.Subscription {
	t.Helper()
	sub := discovery.Watch(source, parse(t, target))
	t.Cleanup(sub.Close)
	return sub
}

func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// await waits until a View is as ok says.
func await(t *testing.T, sub *discovery.Subscription, what string, ok func(discovery.View) bool) discovery.View {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for view := sub.View(); ; {
		if ok(view) {
			return view
		}
		next, err := sub.Next(ctx)
		if err != nil {
			t.Fatalf("waiting for %s: %v; the last view is %q, reason %v, error %v", what, err, text(view.Snapshot), reason(view), view.Err)
		}
		view = next
	}
}

// awaitEndpoints waits for a Snapshot that is up to date and holds just these
// addresses.
func awaitEndpoints(t *testing.T, sub *discovery.Subscription, want string) discovery.View {
	t.Helper()
	return await(t, sub, "endpoints "+want, func(v discovery.View) bool {
		return v.Err == nil && v.Snapshot != nil && text(v.Snapshot) == want
	})
}

func reason(v discovery.View) error {
	if v.Snapshot == nil {
		return nil
	}
	return v.Snapshot.Reason
}

// text is the addresses in a Snapshot, or "-" if there are none.
func text(s *discovery.Snapshot) string {
	if s == nil {
		return "nothing yet"
	}
	var addrs []string
	for _, e := range s.Endpoints {
		addrs = append(addrs, e.Addr.String())
	}
	if len(addrs) == 0 {
		return "-"
	}
	return strings.Join(addrs, " ")
}

func waitWatches(t *testing.T, server *kubetest.Server, n int) {
	t.Helper()
	if err := server.WaitWatches(soon(t), n); err != nil {
		t.Fatal(err)
	}
}
