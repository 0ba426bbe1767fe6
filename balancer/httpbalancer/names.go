package httpbalancer

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/dns"
)

const (
	verdictLifetime = 5 * time.Second
	maxVerdicts     = 1024
)

// A lookupFunc reports whether DNS knows a Service by the name that a URL has as
// its host.
type lookupFunc func(ctx context.Context, host string) (bool, error)

// names tells Services from other hosts by the cluster's DNS, where the
// Kubernetes API cannot be asked, or should not be asked about every host that a
// program talks to. It remembers what it found for a moment.
type names struct {
	lookup lookupFunc // read-only

	mu       sync.Mutex
	verdicts map[string]verdict // guarded by mu
}

type verdict struct {
	service bool
	until   time.Time
}

// isService reports whether DNS knows a Service by that name. A look-up that
// failed counts as no: the base transport will look the name up again, and say
// so if it fails.
func (n *names) isService(ctx context.Context, host string) bool {
	n.mu.Lock()
	v, known := n.verdicts[host]
	n.mu.Unlock()
	if known && time.Now().Before(v.until) {
		return v.service
	}
	service, err := n.lookup(ctx, host)
	if err != nil {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.verdicts == nil || len(n.verdicts) >= maxVerdicts {
		n.verdicts = make(map[string]verdict)
	}
	n.verdicts[host] = verdict{service, time.Now().Add(verdictLifetime)}
	return service
}

// lookupService asks the cluster's DNS for the name that the search path of a
// pod would make of host.
func lookupService(ctx context.Context, host string) (bool, error) {
	if os.Getenv("KUBERNETES_SERVICE_HOST") == "" {
		return false, nil // not in a pod, so whatever DNS there is knows no Services
	}
	service, namespace, _ := strings.Cut(host, ".")
	target := dns.System().Canonical(discovery.Target{Service: service, Namespace: namespace})
	_, err := net.DefaultResolver.LookupHost(ctx, target.Host()+".")
	var dnsError *net.DNSError
	if errors.As(err, &dnsError) && dnsError.IsNotFound {
		return false, nil
	}
	return err == nil, err
}
