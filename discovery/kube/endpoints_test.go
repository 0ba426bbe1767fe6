package kube_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/kube"
	"github.com/sidestep-lb/sidestep/discovery/kube/kubetest"
)

// A legacyServer serves one Endpoints object to one client, and nothing else.
// Requests for other things go to another server.
type legacyServer struct {
	*httptest.Server

	mu      sync.Mutex
	object  string // guarded by mu, as are all below
	version int
	status  int           // of answers; 0 is success
	changed chan struct{} // closed by the next change
}

func startLegacy(t *testing.T, object string) *legacyServer {
	t.Helper()
	s := &legacyServer{object: object, version: 1, changed: make(chan struct{})}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

// source returns a Source that asks s for Endpoints and server for the rest.
func (s *legacyServer) source(server *kubetest.Server, api kube.API) *kube.Source {
	client := &http.Client{Transport: legacyTransport{server.Client().Transport, s}}
	return kube.NewForTest(kube.Config{Host: server.URL(), Client: client, Namespace: "kiada", API: api}, "/nowhere")
}

type legacyTransport struct {
	http.RoundTripper
	legacy *legacyServer
}

func (t legacyTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Path != "/api/v1/namespaces/kiada/endpoints" {
		return t.RoundTripper.RoundTrip(req)
	}
	req = req.Clone(req.Context())
	req.URL.Host = t.legacy.Listener.Addr().String()
	return t.legacy.Client().Transport.RoundTrip(req)
}

func (s *legacyServer) set(object string) {
	s.change(func() { s.object, s.status = object, 0 })
}

func (s *legacyServer) fail(status int) {
	s.change(func() { s.status = status })
}

func (s *legacyServer) change(apply func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	apply()
	s.version++
	close(s.changed)
	s.changed = make(chan struct{})
}

// now returns the object with its version filled in, and the status.
func (s *legacyServer) now() (object string, version, status int, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	meta := fmt.Sprintf(`{"metadata":{"name":"quiz","resourceVersion":"%d",`, s.version)
	return strings.Replace(s.object, `{"metadata":{`, meta, 1), s.version, s.status, s.changed
}

func (s *legacyServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	object, version, status, changed := s.now()
	switch {
	case status != 0:
		w.WriteHeader(status)
	case query.Get("fieldSelector") != "metadata.name=quiz":
		w.WriteHeader(http.StatusNotImplemented)
	case query.Has("sendInitialEvents"): // as old servers have it
		w.WriteHeader(http.StatusUnprocessableEntity)
	case query.Get("watch") == "":
		fmt.Fprintf(w, `{"metadata":{"resourceVersion":"%d"},"items":[%s]}`, version, object)
	default:
		if query.Get("resourceVersion") == strconv.Itoa(version) {
			w.(http.Flusher).Flush()
			select {
			case <-changed:
			case <-r.Context().Done():
				return
			}
			object, _, _, _ = s.now()
		}
		_, _ = io.WriteString(w, `{"type":"MODIFIED","object":`+object+"}\n")
	}
}

const (
	twoSubsets = `{"metadata":{"annotations":{"other":"x"}},"subsets":[
		{"addresses":[{"ip":"10.0.0.1","nodeName":"node-a","targetRef":{"kind":"Pod","name":"quiz-0","uid":"uid-0"}}],
		 "notReadyAddresses":[{"ip":"10.0.0.2"}],"ports":[{"name":"grpc","port":8080,"protocol":"TCP"}]},
		{"addresses":[{"ip":"10.0.0.3"}],"ports":[{"name":"grpc","port":9090},{"name":"http","port":80}]}]}`
	oneSubset    = `{"metadata":{"annotations":null},"subsets":[{"addresses":[{"ip":"10.0.0.4"}],"ports":[{"name":"grpc","port":8080}]}]}`
	bothFamilies = `{"metadata":{"annotations":null},"subsets":[{"addresses":[{"ip":"fd00::4"},{"ip":"10.0.0.4"}],
		"ports":[{"name":"grpc","port":8080}]}]}`
	noSubsets = `{"metadata":{"annotations":null}}`
	cutShort  = `{"metadata":{"annotations":{"endpoints.kubernetes.io/over-capacity":"truncated"}},"subsets":[
		{"addresses":[{"ip":"10.0.0.4"}],"ports":[{"name":"grpc","port":8080}]}]}`
)

const ofTwoSubsets = "10.0.0.1:8080 10.0.0.2:8080 10.0.0.3:9090"

func TestTheEndpointsAPIServesWhereItIsChosen(t *testing.T) {
	server := newServer(t)
	setSlice(server, "quiz-a", kubetest.Ready("10.0.0.9", "quiz-9"))
	legacy := startLegacy(t, twoSubsets)
	sub := watch(t, legacy.source(server, kube.Endpoints), "k8s:///quiz:80")
	view := awaitEndpoints(t, sub, ofTwoSubsets)
	if view.Snapshot.Degraded != nil {
		t.Errorf("degraded to what was chosen: %v", view.Snapshot.Degraded)
	}
	first, second := view.Snapshot.Endpoints[0], view.Snapshot.Endpoints[1]
	want := discovery.Endpoint{Addr: first.Addr, UID: "uid-0", Pod: "quiz-0", Node: "node-a", Ready: true, Serving: true}
	if !first.Equal(&want) || second.Ready || second.Terminating {
		t.Errorf("got %+v and %+v", first, second)
	}
	legacy.set(cutShort)
	if view = awaitEndpoints(t, sub, "10.0.0.4:8080"); view.Snapshot.Degraded == nil || !strings.Contains(view.Snapshot.Degraded.Error(), "leaves out all but 1000") {
		t.Errorf("degraded: %v", view.Snapshot.Degraded)
	}
	legacy.set(noSubsets)
	if view = awaitEndpoints(t, sub, "-"); view.Snapshot.Degraded != nil {
		t.Errorf("degraded: %v", view.Snapshot.Degraded)
	}
	if n := server.Count(kubetest.Any, kubetest.EndpointSlices); n != 0 {
		t.Errorf("%d requests for slices", n)
	}
}

func TestTheEndpointsAPIStandsInForSlicesUntilTheyCanBeRead(t *testing.T) {
	server := newServer(t)
	server.Forbid(kubetest.Any, kubetest.EndpointSlices)
	setSlice(server, "quiz-a", kubetest.Ready("10.0.0.9", "quiz-9"))
	legacy := startLegacy(t, twoSubsets)
	sub := watch(t, legacy.source(server, ""), "k8s:///quiz:grpc")

	ctx := soon(t)
	view, err := sub.Next(ctx)
	if err != nil || view.Err != nil {
		t.Fatalf("the refusal counts although the Endpoints can be read: %v, %v", err, view.Err)
	}
	view = awaitEndpoints(t, sub, ofTwoSubsets)
	if err := view.Snapshot.Degraded; err == nil || !strings.Contains(err.Error(), "HTTP status 403 Forbidden") {
		t.Errorf("degraded: %v", err)
	}
	legacy.set(oneSubset)
	awaitEndpoints(t, sub, "10.0.0.4:8080")

	server.Allow(kubetest.Any, kubetest.EndpointSlices)
	if view = awaitEndpoints(t, sub, "10.0.0.9:8080"); view.Snapshot.Degraded != nil {
		t.Errorf("degraded: %v", view.Snapshot.Degraded)
	}
	legacy.set(twoSubsets)
	waitWatches(t, server, 2)
	setSlice(server, "quiz-a", kubetest.Ready("10.0.0.8", "quiz-8"))
	awaitEndpoints(t, sub, "10.0.0.8:8080")
}

func TestTheEndpointsAPIStandsInWhereTheServerHasNoSlices(t *testing.T) {
	server := newServer(t)
	legacy := startLegacy(t, twoSubsets)
	source := kube.NewForTest(kube.Config{Host: server.URL(), Namespace: "kiada", Client: &http.Client{
		Transport: withoutSlices{legacyTransport{server.Client().Transport, legacy}},
	}}, "/nowhere")
	awaitEndpoints(t, watch(t, source, "k8s:///quiz:grpc"), ofTwoSubsets)
}

func TestAnOutageOfTheEndpointsAPIKeepsTheEndpoints(t *testing.T) {
	server := newServer(t)
	server.Forbid(kubetest.Any, kubetest.EndpointSlices)
	legacy := startLegacy(t, twoSubsets)
	sub := watch(t, legacy.source(server, ""), "k8s:///quiz:grpc")
	awaitEndpoints(t, sub, ofTwoSubsets)
	legacy.fail(http.StatusInternalServerError)
	stale := await(t, sub, "a stale view", discovery.View.Stale)
	if got := text(stale.Snapshot); got != ofTwoSubsets || !strings.Contains(stale.Err.Error(), "read the Endpoints of quiz") {
		t.Errorf("endpoints %s, error %v", got, stale.Err)
	}
	legacy.set(bothFamilies)
	awaitEndpoints(t, sub, "10.0.0.4:8080")
	sub.Close()
	waitWatches(t, server, 0)
}

// withoutSlices answers as a server that does not have the discovery group.
type withoutSlices struct{ http.RoundTripper }

func (w withoutSlices) RoundTrip(req *http.Request) (*http.Response, error) {
	if strings.HasSuffix(req.URL.Path, "/endpointslices") {
		answer := httptest.NewRecorder()
		http.NotFound(answer, req)
		return answer.Result(), nil
	}
	return w.RoundTripper.RoundTrip(req)
}

func TestTheEndpointsAPIIsNoStandInWhereSlicesAreChosen(t *testing.T) {
	server := newServer(t)
	server.Forbid(kubetest.Any, kubetest.EndpointSlices)
	_, err := discovery.Resolve(soon(t), startLegacy(t, twoSubsets).source(server, kube.EndpointSlices), parse(t, "k8s:///quiz:grpc"))
	if !errors.Is(err, discovery.ErrForbidden) {
		t.Errorf("error: %v", err)
	}
}

func TestTheRoleInTheErrorIsThatOfTheAPIChosen(t *testing.T) {
	server := newServer(t)
	server.Forbid(kubetest.Any, kubetest.EndpointSlices)
	legacy := startLegacy(t, twoSubsets)
	legacy.fail(http.StatusForbidden)
	for api, want := range map[kube.API]string{
		"":             "read the EndpointSlices of quiz",
		kube.Endpoints: "read the Endpoints of quiz in namespace kiada: HTTP status 403 Forbidden; bind this Role to the client's ServiceAccount",
	} {
		_, err := discovery.Resolve(soon(t), legacy.source(server, api), parse(t, "k8s:///quiz:grpc"))
		rule := `{apiGroups: [""], resources: [endpoints], verbs: [list, watch]}`
		if !errors.Is(err, discovery.ErrForbidden) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), rule) != (api == kube.Endpoints) {
			t.Errorf("%q: %v", api, err)
		}
	}
}

func TestAnUnknownAPIIsAnErrorAtTheFirstUse(t *testing.T) {
	source := kube.New(kube.Config{Host: "http://127.0.0.1:1", API: "Pods"})
	_, err := discovery.Resolve(context.Background(), source, parse(t, "k8s:///quiz.kiada:grpc"))
	if !errors.Is(err, discovery.ErrUnavailable) || !strings.Contains(err.Error(), `kube.Config.API is "Pods", which is neither EndpointSlices nor Endpoints`) {
		t.Errorf("error: %v", err)
	}
}

// RepackSubsets: "not ready always trumps ready".
func TestAnAddressThatIsNotReadyInOneSubsetIsNotReady(t *testing.T) {
	for name, test := range map[string]struct{ subsets, want string }{
		"for the same port": {
			`{"addresses":[{"ip":"10.0.0.1"},{"ip":"10.0.0.2"}],"ports":[{"name":"grpc","port":8080}]},
			{"notReadyAddresses":[{"ip":"10.0.0.1"}],"ports":[{"name":"grpc","port":8080}]}`, "10.0.0.1:8080 unready, 10.0.0.2:8080 ready",
		},
		"in the same subset": {
			`{"addresses":[{"ip":"10.0.0.1"}],"notReadyAddresses":[{"ip":"10.0.0.1"}],"ports":[{"name":"grpc","port":8080}]}`, "10.0.0.1:8080 unready",
		},
		"among several ports": {
			`{"addresses":[{"ip":"10.0.0.1"}],"ports":[{"name":"admin","port":9090},{"name":"grpc","port":8080}]},
			{"notReadyAddresses":[{"ip":"10.0.0.1"}],"ports":[{"name":"grpc","port":8080,"protocol":"TCP"}]}`, "10.0.0.1:8080 unready",
		},
		"but for another port": {
			`{"addresses":[{"ip":"10.0.0.1"}],"ports":[{"name":"grpc","port":8080}]},
			{"notReadyAddresses":[{"ip":"10.0.0.1"}],"ports":[{"name":"admin","port":9090}]}`, "10.0.0.1:8080 ready",
		},
		"but for another number": {
			`{"addresses":[{"ip":"10.0.0.1"}],"ports":[{"name":"grpc","port":8080}]},
			{"notReadyAddresses":[{"ip":"10.0.0.1"}],"ports":[{"name":"grpc","port":8081}]}`, "10.0.0.1:8080 ready, 10.0.0.1:8081 unready",
		},
		"but of another pod": {
			`{"addresses":[{"ip":"10.0.0.1","targetRef":{"uid":"a"}}],"ports":[{"name":"grpc","port":8080}]},
			{"notReadyAddresses":[{"ip":"10.0.0.1","targetRef":{"uid":"b"}}],"ports":[{"name":"grpc","port":8080}]}`, "10.0.0.1:8080 ready",
		},
	} {
		t.Run(name, func(t *testing.T) {
			legacy := startLegacy(t, `{"metadata":{"labels":{}},"subsets":[`+strings.ReplaceAll(test.subsets, "\n", "")+`]}`)
			sub := watch(t, legacy.source(newServer(t), kube.Endpoints), "k8s:///quiz:grpc")
			s, err := sub.First(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, e := range s.Endpoints {
				state := "unready"
				if e.Ready {
					state = "ready"
				}
				got = append(got, e.Addr.String()+" "+state)
			}
			if text := strings.Join(got, ", "); text != test.want {
				t.Errorf("%s; want %s", text, test.want)
			}
		})
	}
}
