package adapter_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/adapter"
	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/health"
)

// LineClient is a complete adapter, for a protocol that answers a line with a line. It
// makes a connection for each request.
type LineClient struct{ balancer *adapter.Balancer }

// pod is what LineClient keeps for a backend: nothing. One that keeps connections open
// closes them in Drain once the requests in flight are done.
type pod struct{}

func (pod) Drain() {}

func NewLineClient(name string, config balancer.Config) (*LineClient, error) {
	b, err := adapter.New(config, adapter.Hooks{
		Name:    name, // for balancer.Statuses, events and metrics
		Adapter: "line",
		Connect: func(*adapter.Backend) adapter.Conn { return pod{} },
	})
	if err != nil {
		return nil, err
	}
	return &LineClient{b}, nil
}

// Update takes the endpoints, for example from discovery.Watch.
func (c *LineClient) Update(endpoints []discovery.Endpoint) { c.balancer.Update(endpoints) }

func (c *LineClient) Close() { c.balancer.Close() }

// Ask sends a line. While nothing has been sent, it tries other backends.
func (c *LineClient) Ask(line string) (string, error) {
	var request adapter.Request
	for {
		pick, err := c.balancer.Pick(request)
		if err != nil {
			return "", err
		}
		conn, err := net.DialTimeout("tcp", pick.Backend().Endpoint().Addr.String(), time.Second)
		if err == nil {
			pick.Sent() // the time of the dial is not the latency of the backend
			return ask(conn, line, &pick)
		}
		pick.Done(adapter.Result{Outcome: health.Unreachable})
		c.redial(pick.Backend())
		request.Tried = append(request.Tried, pick.Backend())
		c.balancer.Retried(balancer.NotSent)
	}
}

func ask(conn net.Conn, line string, pick *adapter.Pick) (string, error) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Second))
	fmt.Fprintln(conn, line)
	answer, err := bufio.NewReader(conn).ReadString('\n')
	result := adapter.Result{Outcome: health.Success}
	var netErr net.Error
	switch {
	case errors.As(err, &netErr) && netErr.Timeout():
		result.Outcome = health.Timeout
	case err != nil:
		result.Outcome = health.Failure
	}
	pick.Done(result)
	return answer, err
}

// redial brings an unreachable backend back once a connection can be made.
func (c *LineClient) redial(b *adapter.Backend) {
	time.AfterFunc(time.Second, func() {
		switch conn, err := net.DialTimeout("tcp", b.Endpoint().Addr.String(), time.Second); {
		case err == nil:
			conn.Close()
			b.Observe(health.Success)
		case !b.Left():
			c.redial(b)
		}
	})
}

func Example() {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	go echo(server)

	client, err := NewLineClient("lines", balancer.Config{Policy: balancer.RoundRobin})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	client.Update([]discovery.Endpoint{{Addr: netip.MustParseAddrPort(server.Addr().String())}})
	answer, err := client.Ask("hello")
	fmt.Print(answer)
	fmt.Println(err)
	// Output:
	// hello
	// <nil>
}

// echo answers each line with itself.
func echo(server net.Listener) {
	for {
		conn, err := server.Accept()
		if err != nil {
			return
		}
		io.Copy(conn, conn)
		conn.Close()
	}
}
