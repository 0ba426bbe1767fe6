package httpbalancer_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/httpbalancer"
	"github.com/sidestep-lb/sidestep/discovery"
)

// A network is made of pipes, so that time can be virtual.
type network struct {
	mu    sync.Mutex
	serve map[string]func(net.Conn) // by address; guarded by mu
	dials int                       // that failed; guarded by mu
}

func (n *network) set(addr string, serve func(net.Conn)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.serve == nil {
		n.serve = make(map[string]func(net.Conn))
	}
	n.serve[addr] = serve
}

func (n *network) failures() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dials
}

func (n *network) dial(_ context.Context, _, addr string) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	serve := n.serve[addr]
	if serve == nil {
		n.dials++
		return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	}
	client, server := net.Pipe()
	go serve(server)
	return client, nil
}

// at returns a source of endpoints with the given addresses.
func at(addrs ...string) *source {
	var endpoints []discovery.Endpoint
	for _, a := range addrs {
		endpoints = append(endpoints, discovery.Endpoint{Addr: netip.MustParseAddrPort(a), Ready: true, Serving: true})
	}
	s := newSource()
	s.set(discovery.View{Snapshot: discovery.NewSnapshot(endpoints)})
	return s
}

// web serves HTTP on a connection.
func web(protocols *http.Protocols) func(net.Conn) {
	return func(c net.Conn) {
		l := &oneConn{conn: make(chan net.Conn, 1), closed: make(chan struct{})}
		l.conn <- &closeNotifier{Conn: c, closed: sync.OnceFunc(func() { close(l.closed) })}
		server := &http.Server{Protocols: protocols, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "ok")
		})}
		server.Serve(l)
	}
}

// A oneConn is a listener that accepts one connection, and ends with it.
type oneConn struct {
	conn   chan net.Conn
	closed chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	select {
	case c := <-l.conn:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *oneConn) Close() error   { return nil }
func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{} }

type closeNotifier struct {
	net.Conn
	closed func()
}

func (c *closeNotifier) Close() error {
	c.closed()
	return c.Conn.Close()
}

func virtual(s *source, n *network, protocols *http.Protocols) *httpbalancer.Transport {
	return httpbalancer.New(httpbalancer.Config{
		Balancer: balancer.Config{Policy: balancer.RoundRobin},
		Source:   s,
		Base:     &http.Transport{DialContext: n.dial, Protocols: protocols},
	})
}

func TestAWatchThatNobodyUsesIsClosedAfterAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n network
		n.set("10.0.0.1:80", web(nil))
		s := at("10.0.0.1:80")
		transport := virtual(s, &n, nil)
		defer transport.Close()
		client := &http.Client{Transport: transport}

		for range 10 {
			get(t, client, "http://quiz.kiada/")
			time.Sleep(10 * time.Minute) // of virtual time
		}
		if s.watches.Load() != 1 {
			t.Error("the watch was closed while it was used")
		}
		time.Sleep(31 * time.Minute) // of virtual time
		synctest.Wait()
		if s.watches.Load() != 0 || transport.Pools() != 0 {
			t.Error("the watch is still there after half an hour")
		}
		get(t, client, "http://quiz.kiada/")
	})
}

func TestAWatchWithARequestInFlightIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n network
		n.set("10.0.0.1:80", web(nil))
		s := at("10.0.0.1:80")
		transport := virtual(s, &n, nil)
		defer transport.Close()

		resp, err := (&http.Client{Transport: transport}).Get("http://quiz.kiada/")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(24 * time.Hour) // of virtual time
		if s.watches.Load() != 1 {
			t.Error("the watch was closed")
		}
		resp.Body.Close()
	})
}

func TestABackendThatIsOutIsTriedLessAndLessOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n network
		n.set("10.0.0.1:80", web(nil))
		s := at("10.0.0.1:80", "10.0.0.2:80")
		transport := virtual(s, &n, nil)
		defer transport.Close()
		client := &http.Client{Transport: transport}

		for range 10 {
			get(t, client, "http://quiz.kiada/")
		}
		time.Sleep(time.Minute) // of virtual time
		if tries := n.failures(); tries < 5 || tries > 20 {
			t.Errorf("%d connections tried within a minute", tries)
		}

		n.set("10.0.0.2:80", web(nil))
		time.Sleep(15 * time.Second) // of virtual time
		synctest.Wait()
		if transport.Fit() != 2 {
			t.Error("the backend is still out")
		}

		// A backend that has left is not tried any more.
		n.set("10.0.0.2:80", nil)
		for range 10 {
			client.CloseIdleConnections()
			get(t, client, "http://quiz.kiada/")
		}
		s.set(discovery.View{Snapshot: discovery.NewSnapshot(nil)})
		synctest.Wait()
		before := n.failures()
		time.Sleep(time.Hour) // of virtual time
		if after := n.failures(); after != before {
			t.Errorf("%d connections tried to a backend that has left", after-before)
		}
	})
}

func TestAStreamThatAPodRefusesIsSentToAnotherPod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n network
		refused := 0
		n.set("10.0.0.1:80", func(c net.Conn) { refuseStreams(c, &refused) })
		n.set("10.0.0.2:80", web(h2c()))
		transport := virtual(at("10.0.0.1:80", "10.0.0.2:80"), &n, h2c())
		defer transport.Close()

		// net/http tries the same pod for about a minute.
		for range 2 {
			resp, err := transport.RoundTrip(post(t, "http://quiz.kiada/", http.NoBody))
			if got := read(t)(resp, err); got != "ok" {
				t.Errorf("got %q", got)
			}
		}
		if refused == 0 {
			t.Error("no stream was refused")
		}
		if transport.Fit() != 2 {
			t.Error("the pod was taken out of rotation, though it can be reached")
		}
	})
}

// refuseStreams speaks just enough HTTP/2 to answer each request with
// REFUSED_STREAM.
func refuseStreams(conn net.Conn, refused *int) {
	defer conn.Close()
	frames := make(chan []byte, 100) // a pipe holds nothing, so somebody else has to write
	defer close(frames)
	go func() {
		for f := range frames {
			conn.Write(f)
		}
	}()
	io.CopyN(io.Discard, conn, int64(len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")))
	frames <- []byte{0, 0, 0, 4, 0, 0, 0, 0, 0} // SETTINGS
	for {
		header := make([]byte, 9)
		if _, err := io.ReadFull(conn, header); err != nil {
			return
		}
		payload := make([]byte, int(header[0])<<16|int(header[1])<<8|int(header[2]))
		io.ReadFull(conn, payload)
		switch header[3] {
		case 1: // HEADERS: RST_STREAM
			*refused++
			frames <- bytes.Join([][]byte{{0, 0, 4, 3, 0}, header[5:9], {0, 0, 0, 7}}, nil)
		case 6: // PING
			if header[4] == 0 {
				frames <- bytes.Join([][]byte{{0, 0, 8, 6, 1}, header[5:9], payload}, nil)
			}
		}
	}
}
