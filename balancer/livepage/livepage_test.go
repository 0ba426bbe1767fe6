package livepage_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/adapter"
	"github.com/sidestep-lb/sidestep/balancer/livepage"
	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/health"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixed is a source that finds certain endpoints, or an error.
type fixed struct {
	snapshot *discovery.Snapshot
	err      error
	told     chan struct{}
}

func (f *fixed) Watch(ctx context.Context, _ discovery.Target, r discovery.Receiver) {
	if f.snapshot != nil {
		r.Update(f.snapshot)
	}
	if f.err != nil {
		r.Error(f.err)
	}
	close(f.told)
	<-ctx.Done()
}

// watch watches a target until the test ends.
func watch(t *testing.T, text string, f *fixed) {
	t.Helper()
	target, err := discovery.ParseTarget(text)
	if err != nil {
		t.Fatal(err)
	}
	f.told = make(chan struct{})
	sub := discovery.Watch(f, target)
	t.Cleanup(sub.Close)
	<-f.told
}

func endpoint(i int, zone string) discovery.Endpoint {
	return discovery.Endpoint{
		Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 244, byte(i / 250), byte(i%250 + 1)}), 8080),
		Pod:  fmt.Sprintf("quiz-%d", i), Node: "node-" + zone, Zone: zone, Ready: true, Serving: true,
	}
}

type conn struct{}

func (conn) Drain() {}

func newBalancer(t *testing.T, name string, config balancer.Config, endpoints ...discovery.Endpoint) *adapter.Balancer {
	t.Helper()
	b, err := adapter.New(config, adapter.Hooks{Name: name, Adapter: "http", Connect: func(*adapter.Backend) adapter.Conn { return conn{} }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	b.Update(endpoints)
	return b
}

func get(t *testing.T, query string) (*http.Response, string) {
	t.Helper()
	server := httptest.NewServer(livepage.Handler())
	defer server.Close()
	resp, err := server.Client().Get(server.URL + "/debug/sidestep/" + query)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// A shown is what a test looks at of the JSON.
type shown struct {
	Targets []struct {
		Target, Error, Degraded string
		Stale                   bool
		Used, Omitted           int
		Endpoints               []struct {
			Address, Conditions, Why string
			Used                     bool
		}
	}
	Balancers []struct {
		Target, Policy string
		FailOpen       bool
		Omitted        int
		Counts         map[string]int
		Backends       []struct {
			Address, State, Zone string
			For                  float64
			InFlight             int
			Requests             map[string]int
		}
		Events []struct{ Kind, Backend, Detail string }
	}
}

func getJSON(t *testing.T, query string) (s shown) {
	t.Helper()
	resp, body := get(t, query)
	if got := resp.Header.Get("Content-Type"); got != "application/json" {
		t.Errorf("the type is %s", got)
	}
	if err := json.Unmarshal([]byte(body), &s); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return s
}

func TestTheJSONSaysWhatIsUsedAndWhyNot(t *testing.T) {
	starting := endpoint(1, "a")
	starting.Ready, starting.Serving = false, false
	watch(t, "k8s:///quiz.kiada:http", &fixed{
		snapshot: discovery.NewSnapshot([]discovery.Endpoint{endpoint(0, "a"), starting}), err: fmt.Errorf("list: %w", discovery.ErrForbidden),
	})
	s := getJSON(t, "?format=json")
	if len(s.Targets) != 1 {
		t.Fatalf("%d targets", len(s.Targets))
	}
	got := s.Targets[0]
	if got.Target != "k8s:///quiz.kiada:http" || !got.Stale || !strings.Contains(got.Error, "forbidden") || got.Used != 1 || len(got.Endpoints) != 2 {
		t.Errorf("%+v", got)
	}
	if e := got.Endpoints[1]; e.Used || e.Conditions != "not ready" || e.Why == "" {
		t.Errorf("the one that is not ready: %+v", e)
	}
}

func TestTheJSONSaysWhatBackendsDo(t *testing.T) {
	b := newBalancer(t, "http://quiz.kiada", balancer.Config{Policy: balancer.RoundRobin}, endpoint(0, "a"), endpoint(1, "b"))
	for range 20 {
		p, err := b.Pick(adapter.Request{})
		if err != nil {
			t.Fatal(err)
		}
		o := health.Success
		if p.Backend().Endpoint().Zone == "b" {
			o = health.Failure
		}
		p.Done(adapter.Result{Outcome: o})
	}
	p, err := b.Pick(adapter.Request{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Done(adapter.Result{})
	s := getJSON(t, "?format=json")
	if len(s.Balancers) != 1 {
		t.Fatalf("%d balancers", len(s.Balancers))
	}
	got := s.Balancers[0]
	if got.Policy != "round_robin" || got.FailOpen || got.Counts["ejections: consecutive_failures"] != 1 || len(got.Backends) != 2 {
		t.Errorf("%+v", got)
	}
	bad, good := got.Backends[0], got.Backends[1] // what is out of order comes first
	if bad.State != "ejected" || bad.For <= 0 || bad.Requests["failure"] != 5 || good.State != "fit" || good.InFlight != 1 || good.Requests["success"] != 15 {
		t.Errorf("bad: %+v, good: %+v", bad, good)
	}
	if e := got.Events[0]; e.Kind != "ejected" || !strings.Contains(e.Backend, "quiz-1") {
		t.Errorf("the latest event: %+v", e)
	}
}

func TestLongListsAreCutUnlessAllIsAskedFor(t *testing.T) {
	var many []discovery.Endpoint
	for i := range 500 {
		many = append(many, endpoint(i, "a"))
	}
	watch(t, "k8s:///many.kiada:http", &fixed{snapshot: discovery.NewSnapshot(many)})
	newBalancer(t, "k8s:///many.kiada:http", balancer.Config{}, many...)
	for query, want := range map[string]int{"?format=json": 200, "?format=json&all=1": 500} {
		s := getJSON(t, query)
		if n, omitted := len(s.Targets[0].Endpoints), s.Targets[0].Omitted; n != want || omitted != 500-want {
			t.Errorf("%s: %d endpoints, %d omitted", query, n, omitted)
		}
		if n, omitted := len(s.Balancers[0].Backends), s.Balancers[0].Omitted; n != want || omitted != 500-want {
			t.Errorf("%s: %d backends, %d omitted", query, n, omitted)
		}
	}
}

const hostile = `</script><script>document.title="hacked"</script><img src=x onerror='document.title="hacked"'>&amp;`

func TestWhatComesFromOutsideIsNoMarkup(t *testing.T) {
	e := endpoint(0, "a")
	e.Pod, e.Zone, e.Node = hostile, hostile, hostile
	watch(t, "k8s:///quiz.kiada:http", &fixed{snapshot: discovery.NewSnapshot([]discovery.Endpoint{e}), err: fmt.Errorf("%s", hostile)})
	newBalancer(t, hostile, balancer.Config{}, e)
	resp, body := get(t, "")
	if strings.Contains(body, "<img") || strings.Count(body, "</script>") != 2 || strings.Contains(body, "<script>") {
		t.Error("the page holds markup from outside")
	}
	policy := resp.Header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'nonce-", "frame-ancestors 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy is %q", policy)
		}
	}
	again, _ := get(t, "")
	if again.Header.Get("Content-Security-Policy") == policy {
		t.Error("the nonce is always the same")
	}
	for header, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Content-Type": "text/html; charset=utf-8"} {
		if got := resp.Header.Get(header); got != want {
			t.Errorf("%s is %q", header, got)
		}
	}
}

func TestThePageAsksForNothingFromElsewhere(t *testing.T) {
	_, body := get(t, "")
	for _, foreign := range []string{"src=", "href=", "@import", "url(", "https://"} {
		if strings.Contains(body, foreign) {
			t.Errorf("the page holds %q", foreign)
		}
	}
}

func TestThePageIsForReading(t *testing.T) {
	for method, want := range map[string]int{
		http.MethodGet: 200, http.MethodHead: 200, http.MethodPost: 405, http.MethodPut: 405, http.MethodDelete: 405, http.MethodPatch: 405, http.MethodOptions: 405,
	} {
		w := httptest.NewRecorder()
		livepage.Handler().ServeHTTP(w, httptest.NewRequest(method, "/debug/sidestep/", nil))
		if w.Code != want {
			t.Errorf("%s: %d, want %d", method, w.Code, want)
		}
	}
}

func TestItMayBeReadWhileEverythingChanges(t *testing.T) {
	b := newBalancer(t, "k8s:///busy.kiada:http", balancer.Config{}, endpoint(0, "a"), endpoint(1, "b"))
	done := make(chan struct{})
	var all sync.WaitGroup
	for i := range 2 {
		all.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				default:
				}
				b.Update([]discovery.Endpoint{endpoint(n%5, "a"), endpoint(5+n%3+i, "b")})
				if p, err := b.Pick(adapter.Request{}); err == nil {
					p.Done(adapter.Result{Outcome: health.Outcome(n % 5)})
				}
			}
		})
	}
	for range 50 {
		getJSON(t, "?format=json")
	}
	close(done)
	all.Wait()
}

func ExampleHandler() {
	mux := http.NewServeMux()
	mux.Handle("/debug/sidestep/", livepage.Handler())

	server := httptest.NewServer(mux)
	defer server.Close()
	client := http.Client{Timeout: 10 * time.Second}
	resp, err := client.Get(server.URL + "/debug/sidestep/")
	if err != nil {
		panic(err)
	}
	defer resp.Body.Close()
	fmt.Println(resp.Status, resp.Header.Get("Content-Type"))
	client.CloseIdleConnections()
	// Output: 200 OK text/html; charset=utf-8
}
