package podfiles

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What resolv.conf(5) allows: MAXNS, RES_MAXNDOTS, RES_MAXRETRANS and
// RES_MAXRETRY of glibc.
const (
	maxServers  = 3
	maxNDots    = 15
	maxTimeout  = 30
	maxAttempts = 5
)

// A ResolvConf is what a resolv.conf says. See resolv.conf(5) of glibc, whose
// options Go and musl obey in part.
type ResolvConf struct {
	// Servers are the first three name servers.
	Servers []netip.Addr
	// Search is the search path, in lower case and without last dots. Entries that
	// are no domain names are left out.
	Search []string
	// listed is the search path of the file where LOCALDOMAIN has taken its place.
	listed []string
	// NDots is how many dots make a name be tried as it is before the search path.
	// The default is 1.
	NDots int
	// Timeout is for how long to wait for one answer, from 1 s to 30 s. Zero means
	// that the file does not say.
	Timeout time.Duration
	// Attempts is how often to ask all servers, from 1 to 5. Zero means that the
	// file does not say.
	Attempts int
	// Rotate asks the servers in turn.
	Rotate bool
	// UseVC asks over TCP alone.
	UseVC bool
	// SingleRequest asks for A and AAAA one after the other. It is set by
	// single-request and by single-request-reopen.
	SingleRequest bool
	// NoAAAA never asks for AAAA.
	NoAAAA bool
	// TrustAD sets the AD bit of queries.
	TrustAD bool
	// NoTLDQuery never asks for a name without a dot as it is.
	NoTLDQuery bool
	// NoReload does not read the file again when it changes.
	NoReload bool
	// Ignored are the options and keywords that a resolver may obey and that have
	// no effect here, each once, in the order of the file.
	Ignored []string
}

// ReadResolvConf reads a file, and then the environment, which goes before it: see
// resolv.conf(5).
func ReadResolvConf(file string) (ResolvConf, error) {
	text, err := readFile(file)
	if err != nil {
		return ResolvConf{}, err
	}
	conf := ParseResolvConf(text)
	conf.environment(os.LookupEnv)
	return conf, nil
}

func readFile(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSize))
	return string(text), err
}

// ParseResolvConf skips, as resolvers do, the lines that it cannot read.
func ParseResolvConf(text string) ResolvConf {
	conf := ResolvConf{NDots: 1}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 2 || strings.HasPrefix(fields[0], "#") || strings.HasPrefix(fields[0], ";") {
			continue
		}
		switch keyword, values := fields[0], fields[1:]; keyword {
		case "nameserver": // one on each line
			if addr, err := netip.ParseAddr(values[0]); err == nil && len(conf.Servers) < maxServers {
				conf.Servers = append(conf.Servers, addr)
			}
		case "domain": // the last of domain and search counts
			conf.Search = domains(values[:1])
		case "search":
			conf.Search = domains(values)
		case "options":
			for _, option := range values {
				conf.option(option)
			}
		case "sortlist":
			conf.ignore(keyword)
		}
	}
	return conf
}

func domains(values []string) []string {
	var found []string
	for _, s := range values {
		if s = strings.ToLower(strings.TrimSuffix(s, ".")); IsDomain(s) {
			found = append(found, s)
		}
	}
	return found
}

func (c *ResolvConf) option(option string) {
	name, value, _ := strings.Cut(option, ":")
	switch name {
	case "ndots":
		c.NDots = number(value, 0, maxNDots, c.NDots)
	case "timeout":
		c.Timeout = time.Duration(number(value, 1, maxTimeout, int(c.Timeout/time.Second))) * time.Second
	case "attempts":
		c.Attempts = number(value, 1, maxAttempts, c.Attempts)
	case "rotate":
		c.Rotate = true
	case "use-vc", "usevc", "tcp": // as Go reads it: the names of glibc and of others
		c.UseVC = true
	case "single-request", "single-request-reopen":
		c.SingleRequest = true
	case "no-aaaa":
		c.NoAAAA = true
	case "trust-ad":
		c.TrustAD = true
	case "no-reload":
		c.NoReload = true
	case "edns0": // all queries have it, until a server refuses it
	case "no-tld-query":
		c.NoTLDQuery = true
	default:
		c.ignore(name)
	}
}

// number returns the value of an option within bounds, or otherwise.
func number(value string, low, high, otherwise int) int {
	n, err := strconv.ParseUint(value, 10, 31)
	if err != nil {
		return otherwise
	}
	return min(max(int(n), low), high)
}

// maxIgnored bounds what is remembered of a file that is nonsense.
const maxIgnored = 16

func (c *ResolvConf) ignore(what string) {
	if len(c.Ignored) < maxIgnored && !slices.Contains(c.Ignored, what) {
		c.Ignored = append(c.Ignored, what)
	}
}

// The kubelet writes the search path NAMESPACE.svc.DOMAIN svc.DOMAIN DOMAIN,
// followed by that of the node.

// Namespace returns the pod's namespace, or nothing where the search path is not
// that of a pod.
func (c ResolvConf) Namespace() string {
	namespace, _ := c.own()
	return namespace
}

// Domain returns the cluster's domain, or nothing where the search path is not
// that of a pod.
func (c ResolvConf) Domain() string {
	for _, s := range slices.Concat(c.Search, c.listed) {
		if domain, found := strings.CutPrefix(s, "svc."); found {
			return domain
		}
	}
	_, domain := c.own()
	return domain
}

// own returns what the entry NAMESPACE.svc.DOMAIN tells. What the kubelet wrote into
// the file stays true where LOCALDOMAIN leads to other names.
func (c ResolvConf) own() (namespace, domain string) {
	for _, s := range slices.Concat(c.Search, c.listed) {
		namespace, rest, _ := strings.Cut(s, ".")
		if domain, found := strings.CutPrefix(rest, "svc."); found {
			return namespace, domain
		}
	}
	return "", ""
}

// Names returns the absolute names that name may mean, in the order in which to
// ask for them (res_nsearch of glibc, nameList of Go). A name with a last dot means
// itself. All have a last dot.
func (c ResolvConf) Names(name string) []string {
	if strings.HasSuffix(name, ".") {
		return []string{name}
	}
	itself := name + "."
	names := make([]string, 0, len(c.Search)+1)
	asItIsFirst := strings.Count(name, ".") >= c.NDots
	if asItIsFirst {
		names = append(names, itself)
	}
	for _, domain := range c.Search {
		if len(name)+1+len(domain) <= 253 {
			names = append(names, fmt.Sprintf("%s.%s.", name, domain))
		}
	}
	if !asItIsFirst && (!c.NoTLDQuery || strings.Contains(name, ".") || len(names) == 0) {
		names = append(names, itself)
	}
	return names
}
