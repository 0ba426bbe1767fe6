package httpbalancer

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// livenessOf returns a function that reports whether the peer has not closed the
// connection. net/http finds that out when its reader gets to run, which on a
// busy machine is milliseconds later, and a request that is sent in the meantime
// is lost. The kernel knows at once.
func livenessOf(c net.Conn) func() bool {
	raw := rawTCP(c)
	if raw == nil {
		return nil
	}
	l := &liveness{raw: raw}
	l.poll = l.ask
	return l.alive
}

// rawTCP returns nil if c is no TCP connection.
func rawTCP(c net.Conn) syscall.RawConn {
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

// A liveness is for one user at a time, as an idle connection is.
type liveness struct {
	raw  syscall.RawConn
	poll func(fd uintptr) // ask, made once
	fds  [1]unix.PollFd
	dead bool
}

func (l *liveness) alive() bool {
	return l.raw.Control(l.poll) == nil && !l.dead
}

// ask uses POLLRDHUP: the peer closed its side; what it sent before may wait to be
// read.
func (l *liveness) ask(fd uintptr) {
	l.fds[0] = unix.PollFd{Fd: int32(fd), Events: unix.POLLRDHUP}
	n, err := unix.Poll(l.fds[:], 0)
	l.dead = err == nil && n == 1 && l.fds[0].Revents&(unix.POLLERR|unix.POLLHUP|unix.POLLRDHUP) != 0
}

// limitSilence has the kernel end a connection on which nothing of what was sent
// is acknowledged for userTimeout. A limit that is set already is kept.
func limitSilence(c net.Conn) {
	raw := rawTCP(c)
	if raw == nil {
		return
	}
	raw.Control(func(fd uintptr) { //nolint:errcheck // without it, the connection lives as long as the system lets it
		if set, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT); err == nil && set == 0 {
			unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(userTimeout/time.Millisecond)) //nolint:errcheck // as above
		}
	})
}
