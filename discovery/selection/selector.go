package selection

import (
	"log/slog"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/dns"
	"github.com/sidestep-lb/sidestep/discovery/hosts"
	"github.com/sidestep-lb/sidestep/discovery/kube"
	"github.com/sidestep-lb/sidestep/discovery/selection/subset"
	"github.com/sidestep-lb/sidestep/discovery/static"
	"github.com/sidestep-lb/sidestep/discovery/topology"
)

// A Selector subscribes one client to the endpoints that it uses. It may be used
// from any goroutine.
type Selector struct {
	// Set at the start and read-only.
	source discovery.Source // nil: that of each target's scheme
	config Config
	hosts  hosts.File
	logger *slog.Logger // nil: slog.Default()
}

// New returns a Selector. It does no I/O. Source is what to ask; nil is
// [DefaultSource] of each target's scheme. The config has to be valid, see
// [Config.Validate]. A nil logger is slog.Default().
func New(source discovery.Source, config Config, logger *slog.Logger) *Selector {
	return &Selector{source: source, config: config, hosts: hosts.Open(config.HostsFile), logger: logger}
}

// DefaultSource returns the Source of the process for targets of a scheme: for k8s
// the API server of the cluster that the process runs in, with DNS to fall back on
// where that refuses or cannot be reached from the start (see
// [discovery.Fallback]; kube.InCluster alone is the API server without it); for
// headless the DNS of /etc/resolv.conf; for static the target itself.
func DefaultSource(scheme string) discovery.Source {
	switch scheme {
	case discovery.SchemeHeadless:
		return dns.System()
	case discovery.SchemeStatic:
		return static.Source{}
	default:
		return discovery.Fallback(kube.InCluster(), dns.System())
	}
}

// Source returns what is asked about targets of a scheme.
func (s *Selector) Source(scheme string) discovery.Source {
	if s.source != nil {
		return s.source
	}
	return DefaultSource(scheme)
}

// Hosts returns the hosts file.
func (s *Selector) Hosts() hosts.File { return s.hosts }

// Subscribe subscribes to the endpoints of target that the client uses. It does not
// block. Host is the target's name as the user wrote it, which the hosts file may
// have; empty means not to look there.
func (s *Selector) Subscribe(target discovery.Target, host string) *Subscription {
	locality := s.config.Locality
	if locality == (topology.Locality{}) {
		locality = topology.Here()
	}
	chooser := subset.NewChooser(s.watch(target, host), s.peers(), s.config.SubsetSize)
	return &Subscription{
		Subscription: chooser.Subscription,
		chooser:      chooser,
		locality:     locality,
		spillOver:    s.config.SpillOver,
		logger:       s.logger,
	}
}

// peers subscribes to the client's own Service, if that is known and of use.
func (s *Selector) peers() *discovery.Subscription {
	if s.config.SubsetPeers == "" || s.config.SubsetSize <= 0 {
		return nil
	}
	target, err := discovery.ParseTarget(s.config.SubsetPeers)
	if err != nil {
		return nil // the Config is not valid
	}
	return s.watch(target, "")
}

func (s *Selector) watch(target discovery.Target, host string) *discovery.Subscription {
	source := s.Source(target.Scheme)
	if host != "" && target.Scheme != discovery.SchemeStatic && s.hosts.Has(host) {
		source = hosts.Source{File: s.hosts, Host: host, Next: source}
	}
	return discovery.Watch(source, target)
}
