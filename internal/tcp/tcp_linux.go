package tcp

import (
	"net"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// ControlUserTimeout is a net.Dialer's Control, which sets UserTimeout on TCP
// connections, from the handshake on. It exists on Linux only; elsewhere a connection
// waits for an acknowledgement as long as the system does.
func ControlUserTimeout(network, _ string, c syscall.RawConn) error {
	if !strings.HasPrefix(network, "tcp") {
		return nil
	}
	var err error
	if controlErr := c.Control(func(fd uintptr) { err = setUserTimeout(int(fd)) }); controlErr != nil {
		return controlErr
	}
	return os.NewSyscallError("setsockopt TCP_USER_TIMEOUT", err)
}

// SetUserTimeout sets UserTimeout on a connection that has been made. One that is set
// already is kept. It does nothing to other connections than those of TCP, and on
// other systems than Linux.
func SetUserTimeout(c net.Conn) {
	raw := rawConn(c)
	if raw == nil {
		return
	}
	raw.Control(func(fd uintptr) { //nolint:errcheck // without it, the connection lives as long as the system lets it
		if set, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT); err == nil && set == 0 {
			setUserTimeout(int(fd)) //nolint:errcheck // as above
		}
	})
}

func setUserTimeout(fd int) error {
	return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(UserTimeout.Milliseconds()))
}

// PeerClosed returns a function that reports whether the connection is over: the peer
// has closed its side, or has reset it, or it has been closed here. A reader finds that
// out when its goroutine gets to run, which on a busy machine is milliseconds later;
// the kernel knows at once. The function is for one caller at a time, and allocates
// nothing. It is nil if the kernel cannot be asked: c is no TCP connection, or the
// system is not Linux.
func PeerClosed(c net.Conn) func() bool {
	raw := rawConn(c)
	if raw == nil {
		return nil
	}
	p := &poller{raw: raw}
	p.ask = p.poll
	return p.peerClosed
}

// rawConn returns nil if c is no TCP connection.
func rawConn(c net.Conn) syscall.RawConn {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

type poller struct {
	raw    syscall.RawConn
	ask    func(fd uintptr) // poll, made once
	fds    [1]unix.PollFd
	closed bool
}

func (p *poller) peerClosed() bool { return p.raw.Control(p.ask) != nil || p.closed }

// poll uses POLLRDHUP: the peer has closed its side, though what it sent before may
// wait to be read.
func (p *poller) poll(fd uintptr) {
	p.fds[0] = unix.PollFd{Fd: int32(fd), Events: unix.POLLRDHUP}
	n, err := unix.Poll(p.fds[:], 0)
	p.closed = err == nil && n == 1 && p.fds[0].Revents&(unix.POLLERR|unix.POLLHUP|unix.POLLRDHUP) != 0
}
