//go:build !linux

package httpbalancer

import "net"

// livenessOf has no way to ask the kernel here.
func livenessOf(net.Conn) func() bool { return nil }

// limitSilence is for Linux, which alone has TCP_USER_TIMEOUT. Elsewhere a
// connection that waits for an acknowledgement waits as long as the system does.
func limitSilence(net.Conn) {}
