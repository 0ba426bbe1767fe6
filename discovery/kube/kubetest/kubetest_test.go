package kubetest_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sidestep-lb/sidestep/discovery/kube/kubetest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

const (
	slicesPath   = "/apis/discovery.k8s.io/v1/namespaces/kiada/endpointslices"
	servicesPath = "/api/v1/namespaces/kiada/services"

	patience = 20 * time.Second // far longer than anything here takes
)

func start(t *testing.T) *kubetest.Server {
	t.Helper()
	server := kubetest.Start()
	t.Cleanup(server.Close)
	return server
}

// slice is a slice of the Service quiz in kiada with one ready pod.
func slice(name, ip string) kubetest.EndpointSlice {
	return kubetest.Slice("kiada", "quiz", name, kubetest.Ports{"grpc": 8080}, kubetest.Ready(ip, "quiz-0"))
}

func waitContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func send(t *testing.T, server *kubetest.Server, path string, header http.Header) (*http.Response, error) {
	t.Helper()
	request, err := http.NewRequestWithContext(waitContext(t), http.MethodGet, server.URL()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if header != nil {
		request.Header = header
	}
	return server.Client().Do(request)
}

// object is what a client reads, whatever its kind.
type object struct {
	Kind       string
	APIVersion string
	Metadata   struct {
		Name, UID, ResourceVersion string
		Annotations                map[string]string
	}
	Message, Reason string
	Code            int
	Items           []object
	raw             []byte
}

func (o *object) names() string {
	var names string
	for _, item := range o.Items {
		names += item.Metadata.Name + " "
	}
	return names
}

func get(t *testing.T, server *kubetest.Server, path string) (int, object) {
	t.Helper()
	response, err := send(t, server, path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	o := object{raw: body}
	if err := json.Unmarshal(body, &o); err != nil {
		t.Fatalf("%s: %v in %s", path, err, body)
	}
	return response.StatusCode, o
}

// event is one event of a watch.
type event struct {
	Type   string
	Object json.RawMessage
}

type watch struct {
	t       *testing.T
	body    io.ReadCloser
	decoder *json.Decoder
}

func openWatch(t *testing.T, server *kubetest.Server, pathAndQuery string) *watch {
	t.Helper()
	response, err := send(t, server, pathAndQuery, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	if response.StatusCode != http.StatusOK {
		t.Fatalf("watch %s: %s", pathAndQuery, response.Status)
	}
	return &watch{t, response.Body, json.NewDecoder(response.Body)}
}

// want reads the next event and checks its type and, unless it is "", name.
func (w *watch) want(kind, name string) object {
	w.t.Helper()
	var e event
	if err := w.decoder.Decode(&e); err != nil {
		w.t.Fatalf("reading an event, want %s %s: %v", kind, name, err)
	}
	o := object{raw: e.Object}
	if err := json.Unmarshal(e.Object, &o); err != nil {
		w.t.Fatal(err)
	}
	if e.Type != kind || name != "" && o.Metadata.Name != name {
		w.t.Fatalf("got %s %s, want %s %s", e.Type, e.Object, kind, name)
	}
	return o
}

// wantEnd reads to the end of the stream and checks that no event comes.
func (w *watch) wantEnd(want error) {
	w.t.Helper()
	var e event
	err := w.decoder.Decode(&e)
	if err == nil {
		w.t.Fatalf("got %s %s, want the end", e.Type, e.Object)
	}
	if !errors.Is(err, want) {
		w.t.Fatalf("got end %v, want %v", err, want)
	}
}
