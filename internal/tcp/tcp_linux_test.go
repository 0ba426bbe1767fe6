package tcp_test

import (
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidestep-lb/sidestep/internal/tcp"
)

// connect returns both ends of a connection.
func connect(t *testing.T, dialer net.Dialer) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err = dialer.DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	server, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return client, server
}

func userTimeoutOf(t *testing.T, c net.Conn) (value int) {
	t.Helper()
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	controlErr := raw.Control(func(fd uintptr) { value, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT) })
	if controlErr != nil || err != nil {
		t.Fatal(controlErr, err)
	}
	return value
}

func TestAUserTimeoutIsSetUnlessThereIsOne(t *testing.T) {
	dialed, _ := connect(t, net.Dialer{Control: tcp.ControlUserTimeout})
	if got := userTimeoutOf(t, dialed); got != 15_000 {
		t.Errorf("a dialer's Control set %d ms", got)
	}
	plain, _ := connect(t, net.Dialer{})
	tcp.SetUserTimeout(plain)
	if got := userTimeoutOf(t, plain); got != 15_000 {
		t.Errorf("%d ms were set later", got)
	}
	own, _ := connect(t, net.Dialer{Control: func(_, _ string, c syscall.RawConn) (err error) {
		controlErr := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 60_000) })
		if controlErr != nil {
			return controlErr
		}
		return err
	}})
	tcp.SetUserTimeout(own)
	if got := userTimeoutOf(t, own); got != 60_000 {
		t.Errorf("the user's 60 s became %d ms", got)
	}
}

func TestOtherConnectionsThanThoseOfTCPAreLeftAlone(t *testing.T) {
	if err := tcp.ControlUserTimeout("unix", "", nil); err != nil {
		t.Error(err)
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	tcp.SetUserTimeout(a)
	if tcp.PeerClosed(a) != nil {
		t.Error("there is somebody to ask about a pipe")
	}
}

func TestThatThePeerHasClosedIsKnownThoughNobodyReads(t *testing.T) {
	for name, end := range map[string]func(client, server *net.TCPConn){
		"closed":                   func(_, server *net.TCPConn) { server.Close() },
		"closed for writing":       func(_, server *net.TCPConn) { server.CloseWrite() },
		"closed after some bytes":  func(_, server *net.TCPConn) { server.Write([]byte("bye")); server.Close() },
		"reset":                    func(_, server *net.TCPConn) { server.SetLinger(0); server.Close() },
		"closed on the own side":   func(client, _ *net.TCPConn) { client.Close() },
		"closed after it had said": func(client, server *net.TCPConn) { client.Write([]byte("hi")); server.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			client, server := connect(t, net.Dialer{})
			closed := tcp.PeerClosed(client)
			if closed() {
				t.Fatal("closed from the start")
			}
			if _, err := server.Write([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			if closed() {
				t.Fatal("bytes to read are no end")
			}
			if n := testing.AllocsPerRun(100, func() { closed() }); n != 0 {
				t.Errorf("to ask takes %v allocations", n)
			}
			end(client.(*net.TCPConn), server.(*net.TCPConn))
			for deadline := time.Now().Add(10 * time.Second); !closed(); time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("not closed")
				}
			}
		})
	}
}
