package httpbalancer

import (
	"net"
	"syscall"
	"unsafe"
)

// livenessOf returns a function that reports whether the peer has not closed the
// connection. net/http finds that out when its reader gets to run, which on a
// busy machine is milliseconds later, and a request that is sent in the meantime
// is lost. The kernel knows at once.
func livenessOf(c net.Conn) func() bool {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	l := &liveness{raw: raw}
	l.poll = l.ask
	return l.alive
}

// A liveness is for one user at a time, as an idle connection is.
type liveness struct {
	raw  syscall.RawConn
	poll func(fd uintptr) // ask, made once
	dead bool
}

func (l *liveness) alive() bool {
	return l.raw.Control(l.poll) == nil && !l.dead
}

// A pollFD is struct pollfd of poll(2).
type pollFD struct {
	fd      int32
	events  int16
	revents int16
}

const (
	pollErr   = 0x8
	pollHup   = 0x10
	pollRdHup = 0x2000 // the peer closed its side; what it sent before may wait to be read
)

func (l *liveness) ask(fd uintptr) {
	p := pollFD{fd: int32(fd), events: pollRdHup}
	var now syscall.Timespec
	n, _, errno := syscall.Syscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1, uintptr(unsafe.Pointer(&now)), 0, 0, 0)
	l.dead = errno == 0 && n == 1 && p.revents&(pollErr|pollHup|pollRdHup) != 0
}
