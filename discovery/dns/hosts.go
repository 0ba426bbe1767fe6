package dns

import (
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/internal/podfiles"
)

// hostsTTL is for how long what the hosts file says is used until the next look.
const hostsTTL = 5 * time.Second

func openHosts(file string) *podfiles.Hosts {
	if file == "" {
		return podfiles.SystemHosts()
	}
	return podfiles.NewHosts(file)
}

// inHosts returns a target that is the host itself, if it is a headless one that
// the hosts file has as it is written.
func (s *Source) inHosts(target discovery.Target) (discovery.Target, bool) {
	host := target.Host()
	if target.Scheme != discovery.SchemeHeadless || strings.HasSuffix(host, ".") || len(s.hosts.Lookup(host)) == 0 {
		return target, false
	}
	return discovery.Target{Scheme: target.Scheme, Name: host, Port: target.Port}, true
}

// fromHosts returns what the hosts file says of the target's name. Addresses of
// the own machine are as good as others there: whoever writes the file may do what
// the program may. Whoever writes a Service may not: an absolute name may be the
// alias that an ExternalName is, such as localhost, and is for DNS.
func (l *lookup) fromHosts() (reading, bool) {
	if l.hosts == nil || l.target.Scheme != discovery.SchemeHeadless || l.target.Service != "" || strings.HasSuffix(l.target.Name, ".") {
		return reading{}, false
	}
	addrs := l.hosts.Lookup(l.target.Name)
	if len(addrs) == 0 {
		return reading{}, false
	}
	if !l.hostsTold {
		slog.Info("sidestep: the name is in the hosts file, which goes before DNS", "target", l.target.String(), "file", l.hosts.File(), "addresses", addrs)
	}
	l.hostsTold = true
	r := reading{ttl: hostsTTL}
	if l.target.Port.Number == 0 {
		r.reason = fmt.Errorf("%s: %w: %s has the name, and knows no ports: give the target a port number", l.target, discovery.ErrPortNotFound, l.hosts.File())
		return r, true
	}
	ipv4 := slices.ContainsFunc(addrs, netip.Addr.Is4)
	for _, addr := range addrs {
		if addr.Is4() == ipv4 { // as of a name in DNS that has both families
			r.endpoints = append(r.endpoints, newEndpoint(addr, l.target.Port.Number, ""))
		}
	}
	return r, true
}
