package resolver

import (
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"

	grpcresolver "google.golang.org/grpc/resolver"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/selection"
)

// Config says where a resolver's endpoints come from, and which of them a
// channel is to use. The zero value is ready to use.
type Config struct {
	// Source is what to ask. The default is the process's own for the scheme, see
	// [selection.DefaultSource]: for k8s the API server of the cluster that it runs
	// in, with DNS to fall back on, and for headless the DNS of /etc/resolv.conf.
	Source discovery.Source
	// Selection says which of the endpoints the channel uses. The default is all that
	// kube-proxy would use.
	Selection selection.Config
	// Logger gets what the resolver has to say about its channel. The default is
	// slog.Default(). A watch, which channels share, logs to slog.Default().
	Logger *slog.Logger
}

// NewBuilder returns a builder for grpc.WithResolvers, which uses it for the
// targets of one channel in place of the one that is registered. The scheme is
// k8s, kubernetes, headless or static.
func NewBuilder(scheme string, config Config) grpcresolver.Builder {
	return &builder{
		scheme:   scheme,
		logger:   config.Logger,
		invalid:  config.Selection.Validate(),
		selector: selection.New(config.Source, config.Selection, config.Logger),
	}
}

// builder implements grpcresolver.Builder and grpcresolver.AuthorityOverrider.
type builder struct {
	// Set at the start and read-only.
	scheme   string
	invalid  error // what is wrong with the config
	selector *selection.Selector
	logger   *slog.Logger
}

// Scheme implements grpcresolver.Builder.
func (b *builder) Scheme() string { return b.scheme }

// Build implements grpcresolver.Builder. It does not block: the source is asked
// in the background. The error for a malformed target is a
// *discovery.TargetError.
func (b *builder) Build(target grpcresolver.Target, cc grpcresolver.ClientConn, _ grpcresolver.BuildOptions) (grpcresolver.Resolver, error) {
	if b.invalid != nil {
		return nil, fmt.Errorf("resolver config: Selection: %w", b.invalid)
	}
	parsed, err := discovery.ParseTarget(target.URL.String())
	if err != nil {
		return nil, err
	}
	return start(&nameResolver{
		cc:           cc,
		text:         target.String(),
		logger:       b.logger,
		subscription: b.selector.Subscribe(parsed, written(target, parsed)),
	}), nil
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
