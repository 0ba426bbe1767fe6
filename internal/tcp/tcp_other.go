//go:build !linux

package tcp

import (
	"net"
	"syscall"
)

// ControlUserTimeout does nothing here: only Linux has TCP_USER_TIMEOUT.
func ControlUserTimeout(string, string, syscall.RawConn) error { return nil }

// SetUserTimeout does nothing here: only Linux has TCP_USER_TIMEOUT.
func SetUserTimeout(net.Conn) {}

// PeerClosed returns nil: the system is not asked here.
func PeerClosed(net.Conn) func() bool { return nil }
