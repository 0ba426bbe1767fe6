package dns

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/internal/podfiles"
)

// A Config says whom to ask and how often. Its zero value is right inside a pod.
type Config struct {
	// ResolvConf is the file that names the DNS servers and the search path, as
	// resolv.conf(5) describes it, with the variables RES_OPTIONS and LOCALDOMAIN.
	// Empty means /etc/resolv.conf. It is read again when it changes.
	ResolvConf string
	// Servers are the DNS servers, as HOST:PORT, in the order in which to try
	// them. Empty means those of ResolvConf, whose options count in any case.
	Servers []string
	// Namespace is that of targets which name none. Empty means the pod's own,
	// from its service account or the search path. Where nothing tells it, such
	// targets are an error that wraps discovery.ErrUnavailable.
	Namespace string
	// Domain is the cluster's. Empty means the one in the search path, and
	// cluster.local where there is none.
	Domain string
	// HostsFile is the hosts file. Empty means /etc/hosts. A headless target whose
	// host it has, as written and without a last dot, is served by what it says,
	// which no DNS server is asked about.
	HostsFile string
	// MinTTL and MaxTTL bound for how long an answer is used before the next
	// query, whatever its TTL. Zero means 1 s and 60 s.
	MinTTL, MaxTTL time.Duration
	// HoldDown is for how long the last endpoints are kept when a name has no
	// addresses any more. It ends after 800 ms once a user of the target reports
	// trouble, such as a connection lost. Zero means 10 s.
	HoldDown time.Duration
	// Timeout is for how long to wait for one answer of one server. Zero means
	// what the option timeout of ResolvConf says, and 2 s where there is none. A
	// look-up as a whole, with all its queries, fails after five times that, and so
	// many times as long as the option attempts says.
	Timeout time.Duration
	// AllowLocalAddresses admits addresses that no pod can have, such as
	// 127.0.0.1, for tests and demonstrations. See [discovery.CheckAddr].
	AllowLocalAddresses bool
}

func (c Config) withDefaults() Config {
	if c.ResolvConf == "" {
		c.ResolvConf = "/etc/resolv.conf"
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.MinTTL, time.Second},
		{&c.MaxTTL, time.Minute},
		{&c.HoldDown, 10 * time.Second},
		{&c.Timeout, 2 * time.Second},
	} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	return c
}

// A Source serves headless targets, and k8s targets as well as DNS can. Users
// share a watch when they share the Source. It is safe for use by any number of
// goroutines.
type Source struct {
	config  Config
	servers *servers
	hosts   *podfiles.Hosts
	// Tests put their own in the place of these.
	exchange      exchangeFunc
	namespaceFile string
}

// New returns a Source. It reads and asks nothing yet.
func New(config Config) *Source {
	servers := newServers(config) // which have to know what is given
	config = config.withDefaults()
	return &Source{config: config, servers: servers, hosts: openHosts(config.HostsFile), exchange: exchange, namespaceFile: namespaceFile}
}

var system = sync.OnceValue(func() *Source { return New(Config{}) })

// System returns the one Source of the process with the zero Config.
func System() *Source { return system() }

// Watch implements discovery.Source. A target without a port can never be
// served and ends it at once.
func (s *Source) Watch(ctx context.Context, target discovery.Target, r discovery.Receiver) {
	if target.Scheme == discovery.SchemeStatic {
		r.Error(fmt.Errorf("%s: %w: a static target is nothing to ask DNS about", target, discovery.ErrUnavailable))
		return
	}
	target = s.complete(target)
	for target.Service != "" && target.Namespace == "" {
		r.Error(s.errNoNamespace(target))
		select {
		case <-ctx.Done():
			return
		case <-time.After(confAgain): // a file may appear
			target = s.complete(target)
		}
	}
	if target.Port.IsZero() {
		none := discovery.NewSnapshot(nil)
		none.Reason = fmt.Errorf("%s: %w: DNS cannot tell the only port of a Service: "+
			"add the port's name, or the number that its pods listen on", target, discovery.ErrPortNotFound)
		r.Update(none)
		return
	}
	w := &watcher{
		lookup: lookup{
			target: target, names: s.names(target), domain: s.Domain(), hosts: s.hosts,
			config: s.config, client: client{servers: s.servers, timeout: s.config.Timeout, exchange: s.exchange},
		},
		timetable: newTimetable(s.config),
		receiver:  r,
	}
	w.run(ctx)
}
