package resolver

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	grpcresolver "google.golang.org/grpc/resolver"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/hosts"
	"github.com/sidestep-lb/sidestep/discovery/subset"
	"github.com/sidestep-lb/sidestep/discovery/topology"
)

// Config says where a resolver's endpoints come from, and which of them a
// channel is to use. The zero value is ready to use.
type Config struct {
	// Source is what to ask. The default is the process's own for the scheme:
	// the API server of the cluster that it runs in for k8s, with DNS to fall
	// back on where that refuses or cannot be reached from the start (see
	// [discovery.Fallback]; kube.InCluster alone is the API server without it),
	// and the DNS of /etc/resolv.conf for headless.
	Source discovery.Source
	// Locality is where the process runs, for the topology hints of a Service
	// and internalTrafficPolicy Local. The default is what [topology.Here] finds.
	// Without a zone and a node hints do not count; without a node a Service
	// whose policy is Local is reached through its cluster IP, see
	// [topology.NeedsNode].
	Locality topology.Locality
	// HostsFile is the hosts file, /etc/hosts by default. A name that it has, as the
	// target is written, is served by what it says instead of the Source: see
	// package hosts. It is looked at when a channel begins, or leaves idleness.
	HostsFile string
	// SpillOver adds the endpoints that kube-proxy would not use for hints, as
	// levels of lower priority, and makes the client's own zone the first level
	// where there are no hints (see [topology.Spill]): the next level takes over
	// as the first becomes unfit or, with a policy that goes by latency, too slow.
	// gRPC's own policies know no levels and use them all alike.
	SpillOver bool
	// SubsetSize is the number of endpoints to connect to, out of a Service
	// that has more. The default, 0, is all of them. The subset depends on the
	// name of the client's pod: see [subset.Chooser].
	SubsetSize int
	// SubsetPeers is a target of the Service that the client itself belongs to,
	// such as "k8s:///shop", with a port if that Service has several. With it the
	// clients share out the endpoints evenly among them, as soon as they know
	// each other ([subset.Bounded]). Without it, or if its pods are not to be
	// found or this client's is not one of them, each chooses for itself
	// ([subset.Rendezvous]). It counts with a SubsetSize only.
	SubsetPeers string
}

// NewBuilder returns a builder for grpc.WithResolvers, which uses it for the
// targets of one channel in place of the one that is registered. The scheme is
// k8s, kubernetes, headless or static.
func NewBuilder(scheme string, config Config) grpcresolver.Builder {
	return &builder{scheme: scheme, config: config, hosts: hosts.Open(config.HostsFile)}
}

// builder implements grpcresolver.Builder and grpcresolver.AuthorityOverrider.
type builder struct {
	// Set at the start and read-only.
	scheme string
	config Config
	hosts  hosts.File
}

// Scheme implements grpcresolver.Builder.
func (b *builder) Scheme() string { return b.scheme }

// Build implements grpcresolver.Builder. It does not block: the source is asked
// in the background. The error for a malformed target is a
// *discovery.TargetError.
func (b *builder) Build(target grpcresolver.Target, cc grpcresolver.ClientConn, _ grpcresolver.BuildOptions) (grpcresolver.Resolver, error) {
	parsed, err := discovery.ParseTarget(target.URL.String())
	if err != nil {
		return nil, err
	}
	own, err := b.own()
	if err != nil {
		return nil, err
	}
	locality := b.config.Locality
	if locality == (topology.Locality{}) {
		locality = topology.Here()
	}
	return start(&nameResolver{
		cc:           cc,
		text:         target.String(),
		subscription: subset.NewChooser(b.watch(parsed, written(target, parsed)), own, b.config.SubsetSize),
		locality:     locality,
		spillOver:    b.config.SpillOver,
	}), nil
}

// own subscribes to the client's own Service, if that is known and of use.
func (b *builder) own() (*discovery.Subscription, error) {
	if b.config.SubsetPeers == "" {
		return nil, nil
	}
	target, err := discovery.ParseTarget(b.config.SubsetPeers)
	if err != nil {
		return nil, fmt.Errorf("resolver config: SubsetPeers: %w", err)
	}
	if b.config.SubsetSize <= 0 {
		return nil, nil
	}
	return b.watch(target, ""), nil
}

// watch subscribes to a target whose host was written as told; empty means that
// the hosts file is not asked.
func (b *builder) watch(target discovery.Target, written string) *discovery.Subscription {
	source := b.config.Source
	if source == nil {
		source = defaultSource(target.Scheme)
	}
	if target.Scheme != discovery.SchemeStatic && b.hosts.Has(written) {
		source = hosts.Source{File: b.hosts, Host: written, Next: source}
	}
	return discovery.Watch(source, target)
}

// written returns the host of a target as the user wrote it.
func written(target grpcresolver.Target, parsed discovery.Target) string {
	text := target.Endpoint()
	switch {
	case text == "": // kubernetes://SERVICE[:PORT]
		text = target.URL.Host
	case target.URL.Host != "": // kubernetes://NAMESPACE/SERVICE[:PORT]
		return parsed.Host()
	}
	host, _, _ := strings.Cut(text, ":")
	return host
}

// OverrideAuthority implements grpcresolver.AuthorityOverrider. The authority,
// which is also the name that a server's certificate must show, is the host of
// the target as the user wrote it, so that quiz.kiada.svc remains that. A port
// number stays, as in any authority; the name of a port does not, because
// RFC 3986 allows none there and servers and proxies may refuse it. A static
// target has no name; the first of its addresses stands for it, and with TLS
// grpc.WithAuthority gives the name.
func (b *builder) OverrideAuthority(target grpcresolver.Target) string {
	text := target.Endpoint()
	if text == "" { // kubernetes://SERVICE[:PORT]
		text = target.URL.Host
	}
	text, _, _ = strings.Cut(text, ",")
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return text
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return host
	}
	return text
}
