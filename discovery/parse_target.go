package discovery

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// A TargetError says what is wrong with a target, and where.
type TargetError struct {
	// Target is what was to be parsed.
	Target string
	// Offset is the index in Target of the first byte that is wrong.
	Offset int
	// Problem says what is wrong there.
	Problem string
}

// Error implements error.
func (e *TargetError) Error() string {
	if e.Offset >= len(e.Target) {
		return fmt.Sprintf("target %q: at the end: %s", e.Target, e.Problem)
	}
	return fmt.Sprintf("target %q: at %q: %s", e.Target, e.Target[e.Offset:], e.Problem)
}

// ParseTarget parses a target. The scheme kubernetes is an alias of k8s; with
// either, the forms of kuberesolver are read, too: SCHEME://SERVICE[:PORT] and
// SCHEME://NAMESPACE/SERVICE[:PORT]. An error is a *TargetError.
func ParseTarget(s string) (Target, error) {
	p := targetParser{whole: s}
	scheme, rest, found := strings.Cut(s, "://")
	if !found {
		return Target{}, p.fail(0, "no scheme: write k8s:///, headless:/// or static:/// before the name")
	}
	p.offset = len(s) - len(rest)
	rest, via, err := p.via(scheme, rest)
	if err != nil {
		return Target{}, err
	}
	authority, name, found := strings.Cut(rest, "/")
	if !found {
		name = ""
	}
	switch scheme {
	case SchemeKubernetes, aliasKubernetes:
		t, err := p.kubernetes(authority, name)
		if err == nil {
			t.Via = via
		}
		return t, err
	case SchemeHeadless, SchemeStatic:
		if authority != "" {
			return Target{}, p.fail(p.offset, "a host before the name: write three slashes, "+scheme+":///"+authority)
		}
		p.offset++
		if scheme == SchemeStatic {
			return p.static(name)
		}
		return p.headless(name)
	default:
		return Target{}, p.fail(0, fmt.Sprintf("unknown scheme %q: known are k8s, kubernetes, headless and static", scheme))
	}
}

// A targetParser remembers where in the whole text it is.
type targetParser struct {
	whole  string
	offset int // of what is parsed next
}

func (p *targetParser) fail(offset int, problem string) error {
	return &TargetError{Target: p.whole, Offset: min(offset, len(p.whole)), Problem: problem}
}

const viaParameter = "?via="

// via cuts what follows the name off rest.
func (p *targetParser) via(scheme, rest string) (name, via string, err error) {
	i := strings.IndexAny(rest, "?#")
	if i < 0 {
		return rest, "", nil
	}
	at := p.offset + i
	via, found := strings.CutPrefix(rest[i:], viaParameter)
	switch {
	case !found:
		return "", "", p.fail(at, "unknown parameters: known is "+viaParameter)
	case scheme == SchemeHeadless || scheme == SchemeStatic:
		return "", "", p.fail(at, "only k8s targets have a via")
	case via != ViaNodePort && via != ViaLoadBalancer:
		return "", "", p.fail(at+len(viaParameter), "unknown via: known are "+ViaNodePort+" and "+ViaLoadBalancer)
	}
	return rest[:i], via, nil
}

func (p *targetParser) kubernetes(authority, name string) (Target, error) {
	if authority == "" { // k8s:///NAME
		p.offset++
		return p.service(Target{Scheme: SchemeKubernetes}, name)
	}
	if name == "" { // kubernetes://NAME or kubernetes://NAME/
		return p.service(Target{Scheme: SchemeKubernetes}, authority)
	}
	// kubernetes://NAMESPACE/SERVICE[:PORT]
	if err := p.label(p.offset, "namespace", authority); err != nil {
		return Target{}, err
	}
	p.offset += len(authority) + 1
	t, err := p.service(Target{Scheme: SchemeKubernetes}, name)
	if err != nil {
		return Target{}, err
	}
	if t.Namespace != "" {
		return Target{}, p.fail(p.offset, fmt.Sprintf("the namespace is given twice, as %q and as %q", authority, t.Namespace))
	}
	t.Namespace = authority
	return t, nil
}

func (p *targetParser) headless(name string) (Target, error) {
	host, port, err := p.splitPort(name)
	if err != nil {
		return Target{}, err
	}
	name = lower(host) + name[len(host):] // DNS does not tell capitals from small letters (RFC 4343)
	host = lower(host)
	labels := strings.Split(host, ".")
	if len(labels) > 2 && labels[2] != "svc" || isHost(host) {
		if err := p.hostname(host); err != nil {
			return Target{}, err
		}
		return Target{Scheme: SchemeHeadless, Name: host, Port: port}, nil
	}
	return p.service(Target{Scheme: SchemeHeadless}, name)
}

// isHost reports whether a name is absolute and too short to be a Service's with
// the domain of its cluster.
func isHost(name string) bool {
	return len(name) > 1 && strings.HasSuffix(name, ".") && strings.Count(name, ".") < 4
}

// service parses SERVICE[.NAMESPACE[.svc[.DOMAIN]]][:PORT] into t.
func (p *targetParser) service(t Target, name string) (Target, error) {
	host, port, err := p.splitPort(name)
	if err != nil {
		return Target{}, err
	}
	if host == "" {
		return Target{}, p.fail(p.offset, "no service name")
	}
	if isHost(host) {
		return Target{}, p.fail(p.offset+len(host)-1, "a name with a last dot is absolute, and this is no Service's: leave out the dot, or write headless:///"+name)
	}
	t.Port = port
	labels := strings.SplitN(strings.TrimSuffix(host, "."), ".", 4)
	what := []string{"service", "namespace", "", ""}
	at := p.offset
	for i, label := range labels {
		switch i {
		case 0, 1:
			if err := p.label(at, what[i], label); err != nil {
				return Target{}, err
			}
		case 2:
			if lower(label) != "svc" {
				return Target{}, p.fail(at, `a Service's name goes on with "svc" after its namespace`)
			}
		case 3:
			label = lower(label) // this and "svc" are DNS's, not Kubernetes'
			for l := range strings.SplitSeq(label, ".") {
				if err := p.label(at, "domain", l); err != nil {
					return Target{}, err
				}
			}
			t.Domain = label
		}
		at += len(label) + 1
	}
	t.Service = labels[0]
	if len(labels) > 1 {
		t.Namespace = labels[1]
	}
	return t, nil
}

func (p *targetParser) static(list string) (Target, error) {
	at := p.offset
	for a := range strings.SplitSeq(list, ",") {
		if _, err := netip.ParseAddrPort(a); err != nil {
			return Target{}, p.fail(at, "want ADDRESS:PORT with an IP address, such as 10.0.0.1:8080 or [2001:db8::1]:8080")
		}
		at += len(a) + 1
	}
	return Target{Scheme: SchemeStatic, Name: list}, nil
}

// splitPort splits HOST[:PORT].
func (p *targetParser) splitPort(s string) (string, Port, error) {
	host, text, found := strings.Cut(s, ":")
	if !found {
		return host, Port{}, nil
	}
	at := p.offset + len(host) + 1
	port, problem := parsePort(text)
	if problem != "" {
		return "", Port{}, p.fail(at, problem)
	}
	return host, port, nil
}

// parsePort parses a port name or number.
func parsePort(s string) (_ Port, problem string) {
	if s == "" {
		return Port{}, "no port after the colon"
	}
	if strings.Trim(s, "0123456789") == "" {
		n, err := strconv.ParseUint(s, 10, 16)
		if err != nil || n == 0 {
			return Port{}, "a port number lies between 1 and 65535"
		}
		return Port{Number: uint16(n)}, ""
	}
	if problem := checkLabel("port name", s); problem != "" {
		return Port{}, problem
	}
	return Port{Name: s}, ""
}

func (p *targetParser) label(at int, what, label string) error {
	if problem := checkLabel(what, label); problem != "" {
		return p.fail(at, problem)
	}
	return nil
}

// checkLabel holds s against the rule for the names of Services, namespaces and
// ports, a DNS label (RFC 1123). Service names may start with a digit since
// Kubernetes 1.37.
func checkLabel(what, s string) string {
	switch {
	case s == "":
		return "the " + what + " is empty"
	case len(s) > 63:
		return fmt.Sprintf("the %s is %d characters long, 63 is the limit", what, len(s))
	case s[0] == '-' || s[len(s)-1] == '-':
		return "the " + what + " begins or ends with '-'"
	}
	for _, c := range s {
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-':
		case 'A' <= c && c <= 'Z':
			return fmt.Sprintf("the %s holds the capital letter %q; Kubernetes names are lower case", what, c)
		default:
			return fmt.Sprintf("the %s holds %q; allowed are a-z, 0-9 and '-'", what, c)
		}
	}
	return ""
}

// lower is strings.ToLower for ASCII alone: of the Kelvin sign it makes no k.
func lower(s string) string {
	return strings.Map(func(c rune) rune {
		if 'A' <= c && c <= 'Z' {
			return c + 'a' - 'A'
		}
		return c
	}, s)
}

// hostname holds host, in lower case, against the rule for host names, with the
// underscore that is common in DNS.
func (p *targetParser) hostname(host string) error {
	if len(host) > 253 {
		return p.fail(p.offset, fmt.Sprintf("the host name is %d characters long, 253 is the limit", len(host)))
	}
	at := p.offset
	for label := range strings.SplitSeq(strings.TrimSuffix(host, "."), ".") {
		if problem := checkLabel("host name", strings.ReplaceAll(label, "_", "x")); problem != "" {
			return p.fail(at, problem)
		}
		at += len(label) + 1
	}
	return nil
}
