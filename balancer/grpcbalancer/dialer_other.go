//go:build !linux

package grpcbalancer

import "syscall"

// setUserTimeout is a net.Dialer's Control. Only Linux has the option; elsewhere
// a connection that waits for an acknowledgement waits as long as the system
// does.
func setUserTimeout(string, string, syscall.RawConn) error { return nil }
