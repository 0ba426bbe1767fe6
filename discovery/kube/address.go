package kube

import (
	"net/netip"
	"strings"
)

// parseIP reads an address as kube-proxy does (ParseIPSloppy in k8s.io/utils/net):
// zeros may lead the decimal numbers of IPv4, which netip refuses because others
// read them as octal, and the groups of IPv6. The API server has accepted such
// addresses (KEP-4858).
func parseIP(s string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(s)
	if err == nil {
		return addr, nil
	}
	if trimmed := trimZeros(s); trimmed != s {
		if addr, err := netip.ParseAddr(trimmed); err == nil {
			return addr, nil
		}
	}
	return addr, err
}

// trimZeros takes the zeros off that lead a number of more than one digit.
func trimZeros(s string) string {
	var b strings.Builder
	start := true // of a number
	for i := range len(s) {
		more := i+1 < len(s) && s[i+1] != '.' && s[i+1] != ':'
		if start && s[i] == '0' && more {
			continue
		}
		start = s[i] == '.' || s[i] == ':'
		b.WriteByte(s[i])
	}
	return b.String()
}
