package httpbalancer_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/httpbalancer"
	"github.com/sidestep-lb/sidestep/discovery"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for something that should happen soon.
const patience = 10 * time.Second

// A source serves one view for all targets, which the test changes.
type source struct {
	mu        sync.Mutex
	view      discovery.View
	changed   chan struct{}
	watches   atomic.Int32
	refreshes atomic.Int32
}

func newSource() *source { return &source{changed: make(chan struct{})} }

// serving returns a source whose endpoints are those of the servers.
func serving(servers ...*server) *source {
	s := newSource()
	s.publish(servers...)
	return s
}

func (s *source) set(v discovery.View) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.view = v
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *source) publish(servers ...*server) {
	var endpoints []discovery.Endpoint
	for _, server := range servers {
		endpoints = append(endpoints, server.endpoint())
	}
	s.set(discovery.View{Snapshot: discovery.NewSnapshot(endpoints)})
}

func (s *source) fail(err error) { s.set(discovery.View{Err: err}) }

func (s *source) Watch(ctx context.Context, _ discovery.Target, r discovery.Receiver) {
	s.watches.Add(1)
	defer s.watches.Add(-1)
	for {
		s.mu.Lock()
		view, changed := s.view, s.changed
		s.mu.Unlock()
		switch {
		case view.Err != nil:
			r.Error(view.Err)
		case view.Snapshot != nil:
			r.Update(view.Snapshot)
		}
	wait:
		select {
		case <-changed:
		case <-r.Refresh():
			s.refreshes.Add(1)
			goto wait
		case <-ctx.Done():
			return
		}
	}
}

// A server is a pod. Its answers carry its name.
type server struct {
	*http.Server
	name     string
	addr     string
	requests atomic.Int64
	mu       sync.Mutex
	conns    map[net.Conn]http.ConnState
}

// start runs a pod that answers with handler, or else with its name.
func start(t testing.TB, name string, handler http.HandlerFunc) *server {
	return startWith(t, name, handler, nil)
}

func startWith(t testing.TB, name string, handler http.HandlerFunc, protocols *http.Protocols) *server {
	t.Helper()
	s := newServer(name, handler, protocols)
	s.listen(t, "127.0.0.1:0")
	t.Cleanup(func() { s.Close() })
	return s
}

func newServer(name string, handler http.HandlerFunc, protocols *http.Protocols) *server {
	s := &server{name: name, conns: make(map[net.Conn]http.ConnState)}
	s.Server = &http.Server{
		Protocols: protocols,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.requests.Add(1)
			w.Header().Set("Pod", name)
			if handler != nil {
				handler(w, r)
				return
			}
			io.Copy(io.Discard, r.Body)
			io.WriteString(w, name)
		}),
		ConnState: func(c net.Conn, state http.ConnState) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.conns[c] = state
			if state == http.StateClosed || state == http.StateHijacked {
				delete(s.conns, c)
			}
		},
	}
	return s
}

func (s *server) listen(t testing.TB, addr string) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	s.addr = l.Addr().String()
	go s.Serve(l)
}

// restart lets a stopped pod listen at its old address again.
func (s *server) restart(t testing.TB) {
	t.Helper()
	again := newServer(s.name, nil, nil)
	again.listen(t, s.addr)
	t.Cleanup(func() { again.Close() })
}

func (s *server) endpoint() discovery.Endpoint {
	return discovery.Endpoint{Addr: netip.MustParseAddrPort(s.addr), UID: s.name, Pod: s.name, Ready: true, Serving: true}
}

func (s *server) openConns() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// gone returns a pod that refuses connections.
func gone(t testing.TB, name string) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return &server{name: name, addr: l.Addr().String()}
}

// newTransport returns a Transport that the test's end closes.
func newTransport(t testing.TB, config httpbalancer.Config) *httpbalancer.Transport {
	t.Helper()
	if config.Balancer.Policy == "" {
		config.Balancer.Policy = balancer.RoundRobin
	}
	transport := httpbalancer.New(config)
	closeAtEnd(t, transport)
	return transport
}

func closeAtEnd(t testing.TB, transport *httpbalancer.Transport) {
	t.Cleanup(func() {
		if err := transport.Close(); err != nil {
			t.Error(err)
		}
	})
}

func newClient(t testing.TB, s discovery.Source) *http.Client {
	t.Helper()
	return &http.Client{Transport: newTransport(t, httpbalancer.Config{Source: s})}
}

// get returns the body of the answer.
func get(t testing.TB, client *http.Client, url string) string {
	t.Helper()
	return read(t)(client.Get(url))
}

// read returns what is in the body of a response.
func read(t testing.TB) func(resp *http.Response, err error) string {
	return func(resp *http.Response, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
}

// eventually waits until the condition holds.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v in vain: %s", patience, what)
		}
	}
}

// A body counts how often it is closed.
type body struct {
	io.Reader
	closes atomic.Int32
}

func newBody(text string) *body { return &body{Reader: strings.NewReader(text)} }

func (b *body) Close() error {
	b.closes.Add(1)
	return nil
}

func (b *body) mustBeClosedOnce(t testing.TB) {
	t.Helper()
	eventually(t, "the body is closed", func() bool { return b.closes.Load() > 0 })
	if n := b.closes.Load(); n != 1 {
		t.Errorf("the body was closed %d times", n)
	}
}

// post returns a request with a body that can be sent only once.
func post(t testing.TB, url string, b io.ReadCloser) *http.Request {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, url, b)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

func mustFail(t testing.TB, target error) func(resp *http.Response, err error) string {
	return func(resp *http.Response, err error) string {
		t.Helper()
		if err == nil {
			resp.Body.Close()
			t.Fatalf("status %d, want the error %q", resp.StatusCode, target)
		}
		if !errors.Is(err, target) {
			t.Fatalf("error %q, want one that wraps %q", err, target)
		}
		return err.Error()
	}
}

// tlsServer runs a pod that serves TLS, HTTP/2 too.
func tlsServer(t testing.TB, handler http.HandlerFunc) (*server, *httptest.Server) {
	t.Helper()
	s := httptest.NewUnstartedServer(handler)
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	return &server{name: "tls", addr: s.Listener.Addr().String()}, s
}

// viewOf returns a view of endpoints.
func viewOf(endpoints ...discovery.Endpoint) discovery.View {
	return discovery.View{Snapshot: discovery.NewSnapshot(endpoints)}
}

// quiet is the log of servers that are expected to complain.
var quiet = log.New(io.Discard, "", 0)
