package kube_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/kube"
	"github.com/sidestep-lb/sidestep/discovery/kube/kubetest"
)

// watched returns a server and a subscription to quiz, which has one endpoint
// in each of two slices, once both are being watched.
func watched(t *testing.T) (*kubetest.Server, *discovery.Subscription) {
	t.Helper()
	server := newServer(t)
	setSlice(server, "quiz-a", kubetest.Ready("10.0.0.1", "quiz-0"))
	setSlice(server, "quiz-b", kubetest.Ready("10.0.0.2", "quiz-1"))
	sub := watch(t, newSource(server), "k8s:///quiz:grpc")
	awaitEndpoints(t, sub, "10.0.0.1:8080 10.0.0.2:8080")
	waitWatches(t, server, 2)
	return server, sub
}

// changeBoth deletes one slice and adds another.
func changeBoth(server *kubetest.Server) {
	server.DeleteEndpointSlice("kiada", "quiz-a")
	setSlice(server, "quiz-c", kubetest.Ready("10.0.0.3", "quiz-2"))
}

const changed = "10.0.0.2:8080 10.0.0.3:8080"

// P3, P4 and P8: the list after an outage replaces what was there, and an outage
// takes nothing away.
func TestTheLastGoodSnapshotIsKeptThroughAnOutageAndMarkedStale(t *testing.T) {
	for name, compact := range map[string]func(*kubetest.Server){
		"resumed":         func(*kubetest.Server) {},
		"expired, status": (*kubetest.Server).CompactWithStatus,
		"expired, event":  (*kubetest.Server).Compact,
	} {
		t.Run(name, func(t *testing.T) {
			server, sub := watched(t)
			server.Outage()
			stale := await(t, sub, "a stale view", discovery.View.Stale)
			if got := text(stale.Snapshot); got != "10.0.0.1:8080 10.0.0.2:8080" {
				t.Errorf("during the outage: %s", got)
			}
			changeBoth(server)
			compact(server)
			if err := server.Restore(); err != nil {
				t.Fatal(err)
			}
			awaitEndpoints(t, sub, changed)
		})
	}
}

func TestStalenessEndsWithTheOutageEvenIfNothingChanged(t *testing.T) {
	server, sub := watched(t)
	before := sub.View().Snapshot
	server.Outage()
	await(t, sub, "a stale view", discovery.View.Stale)
	if err := server.Restore(); err != nil {
		t.Fatal(err)
	}
	after := await(t, sub, "a view that is not stale", func(v discovery.View) bool { return v.Err == nil })
	if after.Snapshot != before {
		t.Error("the same endpoints came as a new Snapshot")
	}
	if got := lists(server, kubetest.Any); got != 2 {
		t.Errorf("%d lists, want the first two only", got)
	}
}

// P8, and P11: an end that is no failure is followed by the next watch at once.
func TestWatchesGoOnHoweverTheyEnd(t *testing.T) {
	for name, end := range map[string]struct {
		by    func(*kubetest.Server)
		lists int
	}{
		"properly":       {(*kubetest.Server).EndWatches, 2},
		"cut off":        {(*kubetest.Server).DropWatches, 2},
		"mid event":      {(*kubetest.Server).CutMidEvent, 2},
		"expired":        {(*kubetest.Server).ExpireWatches, 4},
		"malformed":      {func(s *kubetest.Server) { s.SendRaw("\x00{]\n") }, 2},
		"half and ended": {func(s *kubetest.Server) { s.SendRaw(`{"type":"MOD`); s.EndWatches() }, 2},
	} {
		t.Run(name, func(t *testing.T) {
			server, sub := watched(t)
			watches := server.Count(kubetest.Watch, kubetest.Any)
			end.by(server)
			if err := server.WaitRequests(soon(t), kubetest.Watch, kubetest.Any, watches+2); err != nil {
				t.Fatal(err)
			}
			changeBoth(server)
			awaitEndpoints(t, sub, changed)
			if got := lists(server, kubetest.Any); got != end.lists {
				t.Errorf("%d lists, want %d", got, end.lists)
			}
		})
	}
}

// P8.
func TestAnUnknownEventHarmsNobody(t *testing.T) {
	server, sub := watched(t)
	server.SendRaw(`{"type":"RENAMED","object":{"kind":"Poem"}}` + "\n")
	changeBoth(server)
	awaitEndpoints(t, sub, changed)
	if got := server.Count(kubetest.Watch, kubetest.Any); got != 2 {
		t.Errorf("%d watches, want the first two to go on", got)
	}
}

// P9.
func TestABookmarkIsWhereAWatchGoesOn(t *testing.T) {
	server := newServer(t)
	server.SetBookmarkInterval(5 * time.Millisecond)
	setSlice(server, "quiz-a", kubetest.Ready("10.0.0.1", "quiz-0"))
	sub := watch(t, newSource(server), "k8s:///quiz:grpc")
	awaitEndpoints(t, sub, "10.0.0.1:8080")
	waitWatches(t, server, 2)
	// A change elsewhere moves the version on, which only bookmarks tell.
	server.SetService(kubetest.ClusterIPService("elsewhere", "quote", nil))
	server.SetEndpointSlice(kubetest.Slice("elsewhere", "quote", "quote-a", nil))
	for start := time.Now(); !movedOn(server, kubetest.Services) || !movedOn(server, kubetest.EndpointSlices); time.Sleep(10 * time.Millisecond) {
		if time.Since(start) > patience {
			t.Fatal("no bookmark was heeded")
		}
		server.EndWatches()
		waitWatches(t, server, 2)
	}
	server.Compact()
	server.EndWatches()
	waitWatches(t, server, 2)
	setSlice(server, "quiz-a", kubetest.Ready("10.0.0.2", "quiz-1"))
	awaitEndpoints(t, sub, "10.0.0.2:8080")
	if got := lists(server, kubetest.Any); got != 2 {
		t.Errorf("%d lists, want the first two only", got)
	}
}

// lists counts the requests for all there is: the streaming lists, of which each
// is the beginning of a watch, and the plain ones.
func lists(server *kubetest.Server, resource string) int {
	count := server.Count(kubetest.List, resource)
	for _, r := range server.Requests() {
		if r.Query.Has("sendInitialEvents") && (resource == kubetest.Any || resource == r.Resource) {
			count++
		}
	}
	return count
}

// movedOn reports whether the last watch of a resource that went on from a
// version did so from a later one than the first.
func movedOn(server *kubetest.Server, resource string) bool {
	var versions []string
	for _, r := range server.Requests() {
		if r.Verb == kubetest.Watch && r.Resource == resource && !r.Query.Has("sendInitialEvents") {
			versions = append(versions, r.Query.Get("resourceVersion"))
		}
	}
	return len(versions) > 0 && versions[len(versions)-1] != versions[0]
}

// P13 and P14.
func TestAnAPIServerThatIsDownAtTheStartIsReportedAndWaitedFor(t *testing.T) {
	server := newServer(t)
	setSlice(server, "quiz-a", kubetest.Ready("10.0.0.1", "quiz-0"))
	server.Outage()
	sub := watch(t, newSource(server), "k8s:///quiz:grpc")
	down := await(t, sub, "an error", func(v discovery.View) bool { return v.Err != nil })
	if discovery.IsPermanent(down.Err) || !strings.Contains(down.Err.Error(), "of quiz in namespace kiada: API server 127.0.0.1:") {
		t.Errorf("error: %v", down.Err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := sub.First(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "API server 127.0.0.1:") {
		t.Errorf("a request that waits is told: %v", err)
	}
	if err := server.Restore(); err != nil {
		t.Fatal(err)
	}
	awaitEndpoints(t, sub, "10.0.0.1:8080")
}

func TestAnAPIServerThatIsBusyIsWaitedFor(t *testing.T) {
	server := newServer(t)
	setSlice(server, "quiz-a", kubetest.Ready("10.0.0.1", "quiz-0"))
	server.Fail(http.StatusServiceUnavailable, 6, 0)
	awaitEndpoints(t, watch(t, newSource(server), "k8s:///quiz:grpc"), "10.0.0.1:8080")
}

// P14 and P25.
func TestA403PrintsTheRoleToAdd(t *testing.T) {
	server := newServer(t)
	setSlice(server, "quiz-a", kubetest.Ready("10.0.0.1", "quiz-0"))
	server.Forbid(kubetest.Any, kubetest.EndpointSlices)
	server.Forbid(kubetest.Any, kubetest.Services)
	source := newSource(server)

	_, err := discovery.Resolve(soon(t), source, parse(t, "k8s:///quiz:grpc"))
	if !errors.Is(err, discovery.ErrForbidden) {
		t.Fatalf("error: %v", err)
	}
	for _, want := range []string{
		"k8s:///quiz.kiada:grpc: forbidden: read the EndpointSlices of quiz in namespace kiada: ",
		"HTTP status 403 Forbidden: endpointslices",
		kube.Role("kiada"),
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q:\n%v", want, err)
		}
	}
	sub := watch(t, source, "k8s:///quiz:grpc")
	await(t, sub, "the refusal", func(v discovery.View) bool { return v.Err != nil })
	server.Allow(kubetest.Any, kubetest.Any)
	awaitEndpoints(t, sub, "10.0.0.1:8080")
}

func TestA403AfterwardsKeepsTheEndpoints(t *testing.T) {
	server, sub := watched(t)
	server.Forbid(kubetest.Any, kubetest.Any)
	server.EndWatches()
	stale := await(t, sub, "a stale view", discovery.View.Stale)
	if !errors.Is(stale.Err, discovery.ErrForbidden) || text(stale.Snapshot) != "10.0.0.1:8080 10.0.0.2:8080" {
		t.Errorf("endpoints %s, error %v", text(stale.Snapshot), stale.Err)
	}
}

func TestAServiceThatCannotBeReadIsNotWaitedForForEver(t *testing.T) {
	server := newServer(t)
	setSlice(server, "quiz-a", kubetest.Ready("10.0.0.1", "quiz-0"))
	source := kube.NewForTest(kube.Config{Host: server.URL(), Namespace: "kiada", Client: &http.Client{
		Transport: withoutServices{server.Client().Transport},
	}}, "/nowhere")
	sub := watch(t, source, "k8s:///quiz:grpc")
	view := await(t, sub, "endpoints", func(v discovery.View) bool { return v.Stale() && text(v.Snapshot) == "10.0.0.1:8080" })
	if !strings.Contains(view.Err.Error(), "read the Service itself of quiz in namespace kiada") {
		t.Errorf("error: %v", view.Err)
	}
	// Without a name, the Service's ports have to be known.
	number := watch(t, source, "k8s:///quiz:80")
	if view := await(t, number, "an error", func(v discovery.View) bool { return v.Err != nil }); view.Snapshot != nil {
		t.Errorf("snapshot %s", text(view.Snapshot))
	}
}

// withoutServices fails requests for Services.
type withoutServices struct{ http.RoundTripper }

func (w withoutServices) RoundTrip(req *http.Request) (*http.Response, error) {
	if strings.HasSuffix(req.URL.Path, "/services") {
		return nil, errors.New("no answer")
	}
	return w.RoundTripper.RoundTrip(req)
}

func (w withoutServices) CloseIdleConnections() {}

// A watch that goes on after a refusal brings what was missed. What was known before
// must not be told anew first, as if it were true.
func TestAfterARefusalWhatWasMissedComesWithTheRecovery(t *testing.T) {
	for name, slices := range map[string]bool{"the slices' watch is back first": true, "the Service's watch is back first": false} {
		t.Run(name, func(t *testing.T) {
			server := newServer(t)
			server.SetService(kubetest.ClusterIPService("kiada", "quiz", kubetest.Ports{"grpc": 80}))
			setSlice(server, "quiz-a", kubetest.Ready("10.0.0.1", "quiz-0"))
			received := make(chan string, 100)
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan struct{})
			target, err := discovery.ParseTarget("k8s:///quiz:grpc")
			if err != nil {
				t.Fatal(err)
			}
			target.Namespace = "kiada"
			go func() {
				defer close(ended)
				newSource(server).Watch(ctx, target, tellAll(received))
			}()
			defer func() { stop(); <-ended }()
			if got := <-received; got != "10.0.0.1:8080" {
				t.Fatal(got)
			}
			server.Forbid(kubetest.Any, "endpointslices")
			server.Forbid(kubetest.Any, "services")
			server.DropWatches()
			for range 4 { // both are refused
				if got := <-received; !strings.HasPrefix(got, "error: ") {
					t.Fatal(got)
				}
			}
			setSlice(server, "quiz-a", kubetest.Ready("10.0.0.2", "quiz-1"))
			server.SetService(kubetest.ClusterIPService("kiada", "quiz", kubetest.Ports{"grpc": 81}))
			if slices {
				server.Allow(kubetest.Any, "endpointslices")
			} else {
				server.Allow(kubetest.Any, "services")
			}
			for range 20 { // one watch is back after 40 ms at the most
				select {
				case got := <-received:
					if got == "10.0.0.1:8080" {
						t.Fatal("the old endpoints were told as news")
					}
				case <-time.After(50 * time.Millisecond):
				}
			}
			server.Allow(kubetest.Any, kubetest.Any)
			for got := range received {
				if got == "10.0.0.1:8080" {
					t.Fatal("the old endpoints were told as news")
				}
				if got == "10.0.0.2:8080" {
					return
				}
			}
		})
	}
}

// A tellAll is a Receiver that sends what it is told: the first endpoint, or the error.
type tellAll chan<- string

func (r tellAll) Update(s *discovery.Snapshot) {
	if len(s.Endpoints) == 0 {
		r <- "none"
		return
	}
	r <- s.Endpoints[0].Addr.String()
}

func (r tellAll) Error(err error) {
	select {
	case r <- "error: " + err.Error():
	default: // nobody listens any more
	}
}
func (tellAll) Refresh() <-chan struct{}     { return nil }
func (tellAll) Unreachable() <-chan struct{} { return nil }
