//go:build linux

package interop

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// A delay is a TCP proxy that stands for distance: whatever happens at one end,
// bytes, end of stream or reset, is known at the other end some time later.
type delay struct {
	target string        // read-only
	by     time.Duration // each way; read-only

	mu       sync.Mutex
	listener *net.TCPListener // nil while the target refuses connections
	addr     *net.TCPAddr
	open     map[*net.TCPConn]struct{} // nil after stop
	running  sync.WaitGroup
}

func newDelay(t *testing.T, target string, by time.Duration) *delay {
	d := &delay{target: target, by: by, addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, open: map[*net.TCPConn]struct{}{}}
	d.addr.Port = freePort(t) // to listen there again after a pause
	if err := d.accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.stop)
	return d
}

// accept begins to accept connections, or begins again.
func (d *delay) accept() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	l, err := net.ListenTCP("tcp", d.addr)
	if err != nil {
		return err
	}
	d.listener = l
	d.running.Go(func() {
		for {
			c, err := l.AcceptTCP()
			if err != nil {
				return
			}
			d.running.Go(func() { d.serve(c) })
		}
	})
	return nil
}

// refuse refuses connections from now on. Those that are open go on.
func (d *delay) refuse() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.listener != nil {
		d.listener.Close()
		d.listener = nil
	}
}

func (d *delay) stop() {
	d.refuse()
	d.mu.Lock()
	open := d.open
	d.open = nil
	d.mu.Unlock()
	for c := range open {
		c.Close()
	}
	d.running.Wait()
}

// track reports whether the proxy still runs, and closes c otherwise.
func (d *delay) track(c *net.TCPConn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open == nil {
		c.Close()
		return false
	}
	d.open[c] = struct{}{}
	return true
}

func (d *delay) done(c *net.TCPConn) {
	c.Close()
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.open, c)
}

func (d *delay) serve(client *net.TCPConn) {
	if !d.track(client) {
		return
	}
	defer d.done(client)
	conn, err := net.Dial("tcp", d.target)
	if err != nil {
		reset(client)
		return
	}
	server := conn.(*net.TCPConn)
	if !d.track(server) {
		return
	}
	defer d.done(server)
	var both sync.WaitGroup
	both.Go(func() { d.carry(server, client) })
	both.Go(func() { d.carry(client, server) })
	both.Wait()
}

// A parcel is what came from one end, on its way to the other.
type parcel struct {
	due  time.Time
	data []byte
	err  error // the last parcel has one
}

func (d *delay) carry(to, from *net.TCPConn) {
	way := make(chan parcel, 4096)
	go func() {
		for {
			buffer := make([]byte, 16<<10)
			n, err := from.Read(buffer)
			due := time.Now().Add(d.by)
			if n > 0 {
				way <- parcel{due: due, data: buffer[:n]}
			}
			if err != nil {
				way <- parcel{due: due, err: err}
				close(way)
				return
			}
		}
	}()
	broken := false
	for p := range way {
		<-time.After(time.Until(p.due))
		switch {
		case broken:
		case p.err != nil && errors.Is(p.err, io.EOF):
			to.CloseWrite()
		case p.err != nil:
			reset(to)
		default:
			if _, err := to.Write(p.data); err != nil {
				broken = true
				<-time.After(d.by)
				reset(from)
			}
		}
	}
}

// reset closes a connection with RST.
func reset(c *net.TCPConn) {
	c.SetLinger(0)
	c.Close()
}
