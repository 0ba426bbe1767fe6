package grpcbalancer

import (
	"context"
	"net"
	"strings"
	"time"
)

// A peer that is gone without a word (a node that lost power, a network that
// dropped the connection's state) sends no reset. These values find out within
// 16 s: on a connection that nothing is sent on by probes, on one that waits for
// an acknowledgement by the user timeout, which should be just below what the
// probes take (RFC 5482, RFC 9293 section 3.8.4). On Linux the latter also gives
// up on a peer that has read nothing for so long.
var probes = net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 2 * time.Second, Count: 3}

const userTimeout = 15 * time.Second

// dial connects to an address in the forms that gRPC gives to a dialer:
// HOST:PORT, unix:PATH, unix://PATH, or an abstract Unix socket.
func dial(ctx context.Context, address string) (net.Conn, error) {
	dialer := net.Dialer{KeepAliveConfig: probes, Control: setUserTimeout}
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		return dialer.DialContext(ctx, "unix", strings.TrimPrefix(path, "//"))
	}
	if strings.HasPrefix(address, "\x00") {
		return dialer.DialContext(ctx, "unix", address)
	}
	return dialer.DialContext(ctx, "tcp", address)
}
