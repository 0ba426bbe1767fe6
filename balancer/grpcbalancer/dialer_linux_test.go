package grpcbalancer

import (
	"context"
	"net"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestDialerAsksTheKernelToNoticeADeadPeer(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	conn, err := dial(context.Background(), listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	for option, want := range map[int]int{
		unix.TCP_USER_TIMEOUT: 15_000,
		syscall.TCP_KEEPIDLE:  10,
		syscall.TCP_KEEPINTVL: 2,
		syscall.TCP_KEEPCNT:   3,
	} {
		var got int
		if err := raw.Control(func(fd uintptr) { got, err = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, option) }); err != nil {
			t.Fatal(err)
		}
		if err != nil || got != want {
			t.Errorf("socket option %#x is %d, %v; want %d", option, got, err, want)
		}
	}
}
