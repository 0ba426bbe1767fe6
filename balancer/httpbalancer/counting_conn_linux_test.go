package httpbalancer_test

import (
	"context"
	"net"
	"net/http"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sidestep-lb/sidestep/balancer/httpbalancer"
)

// option returns a TCP option of a connection.
func option(t *testing.T, c net.Conn, name int) (value int) {
	t.Helper()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	controlErr := raw.Control(func(fd uintptr) { value, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, name) })
	if controlErr != nil || err != nil {
		t.Fatal(controlErr, err)
	}
	return value
}

// The kernel notices a peer that is gone. Over HTTP/1 it leaves one alone that reads
// nothing for a while: that is how a server slows down an upload.
func TestTheKernelIsAskedToNoticeAPeerThatIsGone(t *testing.T) {
	own := func(ctx context.Context, network, addr string) (net.Conn, error) {
		dialer := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
			var err error
			controlErr := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 60_000) })
			if controlErr != nil {
				return controlErr
			}
			return err
		}}
		return dialer.DialContext(ctx, network, addr)
	}
	for name, tt := range map[string]struct {
		base        *http.Transport
		protocols   *http.Protocols
		userTimeout int
		keepIdle    int
	}{
		"HTTP/1":                            {nil, nil, 0, 10},
		"h2c":                               {nil, h2c(), 15_000, 10},
		"h2c, dialed as net/http does it":   {&http.Transport{DialContext: new(net.Dialer).DialContext}, h2c(), 15_000, 15},
		"h2c, with a time-out of the users": {&http.Transport{DialContext: own}, h2c(), 60_000, 15},
	} {
		t.Run(name, func(t *testing.T) {
			pod := startWith(t, "quiz-0", nil, tt.protocols)
			transport := newTransport(t, httpbalancer.Config{Source: serving(pod), Base: tt.base, Protocols: tt.protocols})
			conn := traceOf(t, transport, "http://quiz.kiada/").Conn
			if got := option(t, conn, unix.TCP_USER_TIMEOUT); got != tt.userTimeout {
				t.Errorf("user time-out %d ms, want %d", got, tt.userTimeout)
			}
			if got := option(t, conn, unix.TCP_KEEPIDLE); got != tt.keepIdle {
				t.Errorf("probes after %d s, want %d", got, tt.keepIdle)
			}
		})
	}
}
