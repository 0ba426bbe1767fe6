package dns

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"

	miekg "github.com/miekg/dns"
)

const (
	// maxServers is how many servers of a resolv.conf count (MAXNS).
	maxServers = 3
	// maxConfSize bounds how much of one is read, in bytes.
	maxConfSize = 1 << 20
)

// A resolvConf is what a resolv.conf says that matters here.
type resolvConf struct {
	servers []string // HOST:PORT
	local   bool     // whether servers is what stands for a list that is missing
	search  []string // lower case, without the last dot
}

func readResolvConf(file string) (resolvConf, error) {
	f, err := os.Open(file)
	if err != nil {
		return resolvConf{}, fmt.Errorf("find the DNS servers: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxConfSize)) // the parser would take a failure for the end of the file
	if err != nil {
		return resolvConf{}, fmt.Errorf("find the DNS servers: %w", err)
	}
	conf, err := parseResolvConf(bytes.NewReader(text))
	if err != nil {
		return resolvConf{}, fmt.Errorf("find the DNS servers: read %s: %w", file, err)
	}
	return conf, nil
}

// parseResolvConf skips, as resolvers do, the lines that it cannot read.
func parseResolvConf(r io.Reader) (resolvConf, error) {
	parsed, err := miekg.ClientConfigFromReader(r)
	if err != nil {
		return resolvConf{}, err
	}
	var conf resolvConf
	for _, s := range parsed.Servers {
		if addr, err := netip.ParseAddr(s); err == nil && len(conf.servers) < maxServers {
			conf.servers = append(conf.servers, net.JoinHostPort(addr.String(), parsed.Port))
		}
	}
	if len(conf.servers) == 0 { // "the default is to use the name server on the local machine"
		conf.servers, conf.local = []string{net.JoinHostPort("127.0.0.1", parsed.Port)}, true
	}
	for _, s := range parsed.Search {
		if s = strings.ToLower(strings.TrimSuffix(s, ".")); isDomain(s) {
			conf.search = append(conf.search, s)
		}
	}
	return conf, nil
}

// The kubelet writes the search path NAMESPACE.svc.DOMAIN svc.DOMAIN DOMAIN,
// followed by that of the node.

// namespace returns the pod's namespace, or nothing where the search path is
// not that of a pod.
func (c resolvConf) namespace() string {
	for _, s := range c.search {
		if namespace, rest, _ := strings.Cut(s, "."); strings.HasPrefix(rest, "svc.") {
			return namespace
		}
	}
	return ""
}

// domain returns the cluster's domain, or nothing.
func (c resolvConf) domain() string {
	for _, s := range c.search {
		if domain, found := strings.CutPrefix(s, "svc."); found {
			return domain
		}
	}
	return ""
}
