// Package podfiles reads the files that say what a name means to the programs of
// a pod: /etc/resolv.conf and /etc/hosts.
//
//	conf, err := podfiles.ReadResolvConf(podfiles.ResolvConfFile)
//	...
//	namespace, domain := conf.Namespace(), conf.Domain()
//
// It reads them as glibc, musl and Go do, and asks no DNS server.
package podfiles

import "strings"

// Where the files are.
const (
	ResolvConfFile = "/etc/resolv.conf"
	HostsFile      = "/etc/hosts"
)

// maxSize bounds how much of a file is read, in bytes.
const maxSize = 1 << 20

// IsLabel reports whether s, in lower case, is a DNS label in the sense of
// Kubernetes (RFC 1123).
func IsLabel(s string) bool {
	return s != "" && len(s) <= 63 && s[0] != '-' && s[len(s)-1] != '-' &&
		strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// IsDomain reports whether s consists of labels, without a last dot.
func IsDomain(s string) bool {
	for label := range strings.SplitSeq(s, ".") {
		if !IsLabel(label) {
			return false
		}
	}
	return len(s) <= 253
}
