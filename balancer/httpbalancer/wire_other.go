//go:build !linux

package httpbalancer

import "net"

// livenessOf has no way to ask the kernel here.
func livenessOf(net.Conn) func() bool { return nil }
