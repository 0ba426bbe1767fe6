//go:build linux

package dialclients

import (
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sidestep-lb/sidestep/balancer/dialbalancer"
)

// startNATS runs a NATS server as the i-th pod.
func (c *cluster) startNATS(i int) (stop func()) {
	c.t.Helper()
	port := strconv.Itoa(c.port)
	return start(c.t, net.JoinHostPort(c.addr(i), port), installed(c.t, "nats-server", "nats-server"), "-a", c.addr(i), "-p", port)
}

func TestNATSConnectsToAPodAndToAnotherWhenThatIsRemoved(t *testing.T) {
	c := newCluster(t)
	c.startNATS(0)
	c.startNATS(1)
	c.publish(0, 1)
	d, _ := c.dialer(dialbalancer.Config{Removal: dialbalancer.CloseAtOnce})
	nc, err := nats.Connect("nats://store.shop:4222",
		nats.SetCustomDialer(d),
		nats.SkipHostLookup(),
		nats.ReconnectWait(10*time.Millisecond),
		nats.MaxReconnects(-1),
	)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	sub, err := nc.SubscribeSync("orders")
	if err != nil {
		t.Fatal(err)
	}
	echo := func() {
		t.Helper()
		if err := nc.Publish("orders", []byte("one")); err != nil {
			t.Fatal(err)
		}
		if _, err := sub.NextMsg(5 * time.Second); err != nil {
			t.Fatal(err)
		}
	}
	echo()
	host := func() string {
		host, _, _ := net.SplitHostPort(nc.ConnectedAddr())
		return host
	}
	first := host()
	if first == c.addr(0) {
		c.publish(1)
	} else {
		c.publish(0)
	}
	eventually(t, func() bool { return nc.IsConnected() && host() != first }, "the client does not go to another pod")
	echo()
}

func TestNATSLooksTheNameUpUnlessToldNotTo(t *testing.T) {
	c := newCluster(t)
	c.startNATS(0)
	c.publish(0)
	d, _ := c.dialer(dialbalancer.Config{})
	seen := &recorder{d: d}
	// localhost is a name that every machine can look up.
	nats.Connect("nats://localhost:1", nats.SetCustomDialer(seen))
	if host, _, _ := net.SplitHostPort(seen.address); net.ParseIP(host) == nil {
		t.Errorf("dialed %q: docs/dial.md says an address", seen.address)
	}
	nats.Connect("nats://localhost:1", nats.SetCustomDialer(seen), nats.SkipHostLookup())
	if seen.address != "localhost:1" {
		t.Errorf("dialed %q, want the name", seen.address)
	}
}

type recorder struct {
	d       *dialbalancer.Dialer
	address string
}

func (r *recorder) Dial(network, address string) (net.Conn, error) {
	r.address = address
	return r.d.Dial(network, address)
}
