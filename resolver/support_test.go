package resolver_test

import (
	"context"
	"errors"
	"net/netip"
	"net/url"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	grpcresolver "google.golang.org/grpc/resolver"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/resolver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen.
const patience = 10 * time.Second

// A source is a discovery.Source that says what a test tells it to.
type source struct {
	mu        sync.Mutex
	snapshot  *discovery.Snapshot
	err       error
	receivers map[discovery.Receiver]bool
	runs      int // how often Watch was called
	refreshes chan struct{}
}

func newSource(endpoints ...discovery.Endpoint) *source {
	s := &source{receivers: make(map[discovery.Receiver]bool), refreshes: make(chan struct{}, 100)}
	if endpoints != nil {
		s.snapshot = discovery.NewSnapshot(endpoints)
	}
	return s
}

func (s *source) Watch(ctx context.Context, _ discovery.Target, r discovery.Receiver) {
	s.mu.Lock()
	s.runs++
	s.receivers[r] = true
	s.say(r)
	s.mu.Unlock()
	for {
		select {
		case <-r.Refresh():
			s.refreshes <- struct{}{}
		case <-ctx.Done():
			s.mu.Lock()
			delete(s.receivers, r)
			s.mu.Unlock()
			return
		}
	}
}

// say is called with mu held.
func (s *source) say(r discovery.Receiver) {
	if s.err != nil {
		r.Error(s.err)
	} else if s.snapshot != nil {
		r.Update(s.snapshot)
	}
}

func (s *source) update(snapshot *discovery.Snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.snapshot, s.err = snapshot, nil
	for r := range s.receivers {
		s.say(r)
	}
}

func (s *source) set(endpoints ...discovery.Endpoint) { s.update(discovery.NewSnapshot(endpoints)) }

func (s *source) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
	for r := range s.receivers {
		s.say(r)
	}
}

func ready(addr string) discovery.Endpoint {
	return discovery.Endpoint{Addr: netip.MustParseAddrPort(addr), UID: "uid-" + addr, Ready: true, Serving: true}
}

// A channel is a grpcresolver.ClientConn that notes what a resolver tells it.
type channel struct {
	grpcresolver.ClientConn
	states chan grpcresolver.State
	errors chan error
	answer error // of UpdateState
}

func newChannel() *channel {
	return &channel{states: make(chan grpcresolver.State, 100), errors: make(chan error, 100)}
}

func (c *channel) UpdateState(s grpcresolver.State) error {
	c.states <- s
	return c.answer
}

func (c *channel) ReportError(err error) { c.errors <- err }

func (c *channel) state(t *testing.T) grpcresolver.State {
	t.Helper()
	select {
	case s := <-c.states:
		return s
	case <-time.After(patience):
		t.Fatal("the resolver delivered no state")
	}
	panic("unreachable")
}

func (c *channel) error(t *testing.T) error {
	t.Helper()
	select {
	case err := <-c.errors:
		return err
	case <-time.After(patience):
		t.Fatal("the resolver reported no error")
	}
	panic("unreachable")
}

// quiet fails the test if the resolver said anything more.
func (c *channel) quiet(t *testing.T) {
	t.Helper()
	select {
	case s := <-c.states:
		t.Errorf("unexpected state: %v", s)
	case err := <-c.errors:
		t.Errorf("unexpected error: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
}

func target(t *testing.T, text string) grpcresolver.Target {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return grpcresolver.Target{URL: *u}
}

func build(t *testing.T, cc grpcresolver.ClientConn, text string, config resolver.Config) grpcresolver.Resolver {
	t.Helper()
	to := target(t, text)
	r, err := resolver.NewBuilder(to.URL.Scheme, config).Build(to, cc, grpcresolver.BuildOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func addresses(s grpcresolver.State) []string {
	list := []string{}
	for _, a := range s.Addresses {
		list = append(list, a.Addr)
	}
	return list
}

var errOutage = errors.New("connection refused")
