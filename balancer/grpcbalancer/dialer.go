package grpcbalancer

import (
	"context"
	"net"
	"strings"

	"github.com/sidestep-lb/sidestep/internal/tcp"
)

// dial connects to an address in the forms that gRPC gives to a dialer:
// HOST:PORT, unix:PATH, unix://PATH, or an abstract Unix socket. A peer that is gone
// without a word is noticed within 16 s.
func dial(ctx context.Context, address string) (net.Conn, error) {
	dialer := net.Dialer{KeepAliveConfig: tcp.KeepAlive, Control: tcp.ControlUserTimeout}
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		return dialer.DialContext(ctx, "unix", strings.TrimPrefix(path, "//"))
	}
	if strings.HasPrefix(address, "\x00") {
		return dialer.DialContext(ctx, "unix", address)
	}
	return dialer.DialContext(ctx, "tcp", address)
}
