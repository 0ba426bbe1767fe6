package dialbalancer_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/sidestep-lb/sidestep/balancer/dialbalancer"
	"github.com/sidestep-lb/sidestep/discovery"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A cluster is pods, the connections to them, and what discovery says of them. The
// connections are pipes, so that time can be virtual. It is a discovery.Source.
type cluster struct {
	mu       sync.Mutex
	changed  chan struct{}
	snapshot *discovery.Snapshot
	err      error
	pods     map[string]*pod // by address
	foreign  []string        // addresses of no pod that were dialed
}

// A pod answers each line with its name.
type pod struct {
	discovery.Endpoint
	cluster *cluster
	refuses error         // what a dial returns; guarded by the cluster's mu, as are all below
	silent  bool          // a dial waits for its context
	drops   bool          // connections end at once
	once    bool          // connections end after one answer
	dials   int           // so far
	open    int           // connections
	broken  error         // what a read returns
	hangs   chan struct{} // dials wait for it, if set
}

func newCluster(names ...string) *cluster {
	c := &cluster{changed: make(chan struct{}), pods: make(map[string]*pod)}
	for _, name := range names {
		c.add(name)
	}
	c.publish()
	return c
}

// add makes a pod. Discovery says so when publish is called.
func (c *cluster) add(name string) *pod {
	c.mu.Lock()
	defer c.mu.Unlock()
	addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(len(c.pods) + 1)}), 6379)
	p := &pod{cluster: c, Endpoint: discovery.Endpoint{Addr: addr, UID: name, Pod: name, Ready: true, Serving: true}}
	c.pods[addr.String()] = p
	return p
}

// publish says that there are these pods, or all, and what they are like.
func (c *cluster) publish(pods ...*pod) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if pods == nil {
		for _, p := range c.pods {
			pods = append(pods, p)
		}
	}
	var endpoints []discovery.Endpoint
	for _, p := range pods {
		endpoints = append(endpoints, p.Endpoint)
	}
	c.snapshot = discovery.NewSnapshot(endpoints)
	c.snapshot.ClusterIP = netip.MustParseAddrPort("10.96.0.7:6379")
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *cluster) Watch(ctx context.Context, _ discovery.Target, r discovery.Receiver) {
	for {
		c.mu.Lock()
		snapshot, err, changed := c.snapshot, c.err, c.changed
		c.mu.Unlock()
		if err != nil {
			r.Error(err)
		} else if snapshot != nil {
			r.Update(snapshot)
		}
	wait:
		select {
		case <-changed:
		case <-r.Refresh():
			goto wait
		case <-ctx.Done():
			return
		}
	}
}

// get returns a pod by its name.
func (c *cluster) get(name string) *pod {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.pods {
		if p.Pod == name {
			return p
		}
	}
	return nil
}

// with changes a pod.
func (p *pod) with(change func(p *pod)) {
	p.cluster.mu.Lock()
	defer p.cluster.mu.Unlock()
	change(p)
}

func (p *pod) state() pod {
	p.cluster.mu.Lock()
	defer p.cluster.mu.Unlock()
	return *p
}

var refused = &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}

func refuse(p *pod) { p.refuses = refused }
func accept(p *pod) { p.refuses = nil }

// dial is a Config.Dial.
func (c *cluster) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	c.mu.Lock()
	p := c.pods[addr]
	if p == nil {
		for _, other := range c.pods {
			if other.AltAddr.String() == addr {
				p = other
			}
		}
	}
	if p == nil {
		c.foreign = append(c.foreign, addr)
		c.mu.Unlock()
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ENETUNREACH}
	}
	p.dials++
	state := *p
	c.mu.Unlock()
	switch {
	case state.refuses != nil:
		return nil, state.refuses
	case state.silent:
		<-ctx.Done()
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: ctx.Err()}
	case state.hangs != nil:
		<-state.hangs
	}
	client, server := net.Pipe()
	if state.drops {
		server.Close()
		return client, nil
	}
	p.with(func(p *pod) { p.open++ })
	go func() {
		for lines := bufio.NewScanner(server); lines.Scan(); {
			fmt.Fprintln(server, p.Pod)
			if state.once {
				break
			}
		}
		server.Close()
		p.with(func(p *pod) { p.open-- })
	}()
	return &conn{client, p}, nil
}

// A conn is broken if its pod's connections are.
type conn struct {
	net.Conn
	pod *pod
}

func (c *conn) Read(p []byte) (int, error) {
	if err := c.pod.state().broken; err != nil {
		return 0, &net.OpError{Op: "read", Net: "tcp", Err: err}
	}
	return c.Conn.Read(p)
}

// opens returns how many connections each pod has.
func (c *cluster) opens() map[string]int {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	opens := make(map[string]int)
	for _, p := range c.pods {
		opens[p.Pod] = p.open
	}
	return opens
}

func (c *cluster) dials() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.pods {
		n += p.dials
	}
	return n
}

const (
	target  = "k8s:///redis.shop:redis"
	address = "redis.shop:6379"
)

func newDialer(t testing.TB, c *cluster, config dialbalancer.Config) *dialbalancer.Dialer {
	t.Helper()
	config.Source = c
	if config.Dial == nil {
		config.Dial = c.dial
	}
	d, err := dialbalancer.New(target, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// dial makes a connection, which the end of the test closes.
func dial(t testing.TB, d *dialbalancer.Dialer) *dialbalancer.Conn {
	t.Helper()
	c, err := d.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	own, ok := dialbalancer.ConnOf(c)
	if !ok {
		t.Fatalf("%T is no Conn", c)
	}
	return own
}

// ask has a pod say its name.
func ask(c net.Conn) (string, error) {
	if _, err := io.WriteString(c, "who\n"); err != nil {
		return "", err
	}
	answer := make([]byte, 100)
	n, err := c.Read(answer)
	if err != nil {
		return "", err
	}
	return string(answer[:max(n-1, 0)]), nil
}

func mustAsk(t testing.TB, c net.Conn) string {
	t.Helper()
	name, err := ask(c)
	if err != nil {
		t.Fatal(err)
	}
	return name
}
