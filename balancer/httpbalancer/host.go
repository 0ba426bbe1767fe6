package httpbalancer

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/sidestep-lb/sidestep/discovery"
)

// ServiceTarget reads the host of a URL as the name of a Service:
//
//	SERVICE[.NAMESPACE[.svc[.DOMAIN]]]
//
// in upper or lower case. A name with a last dot is absolute, as in DNS, and a
// Service only with the DOMAIN. The port is that of the URL, or 80 or 443 by its
// scheme. IP addresses, localhost and its subdomains, all other names of three
// labels or more, and URLs that are neither http nor https are no Services.
//
// Names of one or two labels are taken for Services, though they need not be, and
// so are names of any DOMAIN, which need not be the cluster's. Without a Target in
// its Config, a Transport finds out about both.
func ServiceTarget(u *url.URL) (discovery.Target, bool) {
	host, ok := readHost(u)
	if !ok {
		return discovery.Target{}, false
	}
	return host.target, true
}

// A hostName is a host that reads as a Service.
type hostName struct {
	target discovery.Target
	text   string // in lower case, without port and trailing dot
	// ambiguous says that the host may well be something else. Only names with
	// the label svc are Services beyond doubt.
	ambiguous bool
}

// readHost is called for each request, and allocates nothing if the host is in
// lower case.
func readHost(u *url.URL) (hostName, bool) {
	port, ok := portNumber(u)
	if !ok {
		return hostName{}, false
	}
	text := strings.ToLower(u.Hostname())
	text, absolute := strings.CutSuffix(text, ".")
	if text == "localhost" || strings.HasSuffix(text, ".localhost") {
		return hostName{}, false
	}
	h := hostName{
		target: discovery.Target{Scheme: discovery.SchemeKubernetes, Port: discovery.Port{Number: port}},
		text:   text,
	}
	service, rest, more := strings.Cut(text, ".")
	h.target.Service = service
	if !isLabel(service) {
		return hostName{}, false
	}
	if !more {
		h.ambiguous = true
		return h, !absolute
	}
	namespace, rest, more := strings.Cut(rest, ".")
	h.target.Namespace = namespace
	if !isLabel(namespace) {
		return hostName{}, false
	}
	if !more {
		h.ambiguous = true
		return h, !absolute
	}
	svc, domain, more := strings.Cut(rest, ".")
	h.target.Domain = domain
	if !more {
		return h, svc == "svc" && !absolute
	}
	return h, svc == "svc" && isDomain(domain)
}

func portNumber(u *url.URL) (uint16, bool) {
	text := u.Port()
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return 0, false
	case text != "":
		n, err := strconv.ParseUint(text, 10, 16)
		return uint16(n), err == nil && n != 0
	case u.Scheme == "https":
		return 443, true
	default:
		return 80, true
	}
}

func isDomain(s string) bool {
	for {
		label, rest, more := strings.Cut(s, ".")
		if !isLabel(label) {
			return false
		}
		if !more {
			return true
		}
		s = rest
	}
}

// isLabel holds s, in lower case, against the rule for the names of Services
// and namespaces, a DNS label (RFC 1123).
func isLabel(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}
