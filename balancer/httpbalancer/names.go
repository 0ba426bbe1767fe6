package httpbalancer

import (
	"cmp"
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/dns"
	"github.com/sidestep-lb/sidestep/discovery/kube"
)

const (
	// decideWithin is for how long a request waits to be told whether its host is a
	// Service. Then it goes through the base transport, which leads to the same
	// Service, by its cluster IP, if there is one.
	decideWithin = time.Second
	// verdictLifetime is for how long an answer counts before it is asked for anew,
	// behind the requests, which go on by the old one.
	verdictLifetime = 5 * time.Second
	costlyLifetime  = 30 * time.Second
	maxVerdicts     = 1024
)

// An askFunc finds out whether a host is a Service.
type askFunc func(ctx context.Context, host hostName) answer

// names remembers which hosts are Services, for those that may be or not.
type names struct {
	ask  askFunc         // read-only
	ctx  context.Context // ends with the Transport; read-only
	stop func()          // ends ctx; read-only

	asking sync.WaitGroup // added to with mu held

	mu       sync.Mutex
	closed   bool                // guarded by mu, as are all below
	verdicts map[string]*verdict // by host
	told     map[string]bool     // hosts of the hosts file that the log has
}

// A verdict is what is known of a host. It is guarded by the mu of names.
type verdict struct {
	known   bool
	service bool
	until   time.Time     // for how long it counts
	asked   chan struct{} // closed with the answer that is awaited; nil if none is
}

func newNames(ask askFunc) *names {
	n := &names{ask: ask, verdicts: make(map[string]*verdict), told: make(map[string]bool)}
	n.ctx, n.stop = context.WithCancel(context.Background())
	return n
}

// isService reports whether a host is a Service. Only who asks first waits for the
// answer, and no longer than decideWithin. An answer that is old is used, and a new
// one fetched meanwhile; it counts for as long as there is none.
func (n *names) isService(ctx context.Context, host hostName) bool {
	known, service, asked := n.recall(host)
	if known {
		return service
	}
	timer := time.NewTimer(decideWithin)
	defer timer.Stop()
	select {
	case <-asked:
	case <-ctx.Done():
		return false // the base transport will say so
	case <-timer.C:
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	v := n.verdicts[host.text]
	if v == nil {
		return false // forgotten to make room
	}
	v.known = true // the next one does not wait
	return v.service
}

// knows reports whether isService would not wait.
func (n *names) knows(host hostName) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	v := n.verdicts[host.text]
	return v != nil && v.known
}

// recall returns what is known of a host, or what tells that it is.
func (n *names) recall(host hostName) (known, service bool, asked <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	v := n.verdicts[host.text]
	if v == nil {
		if len(n.verdicts) >= maxVerdicts {
			clear(n.verdicts)
		}
		v = new(verdict)
		n.verdicts[strings.Clone(host.text)] = v
	}
	if v.asked == nil && !time.Now().Before(v.until) {
		n.refreshLocked(v, host)
	}
	return v.known, v.service, v.asked
}

// refreshLocked asks about a host, behind whoever needs to know.
func (n *names) refreshLocked(v *verdict, host hostName) {
	asked := make(chan struct{})
	v.asked = asked
	if n.closed {
		v.known = true
		close(asked)
		return
	}
	n.asking.Go(func() {
		defer close(asked)
		a := n.ask(n.ctx, host)
		n.mu.Lock()
		defer n.mu.Unlock()
		v.known, v.asked, v.until = true, nil, time.Now().Add(verdictLifetime)
		if a.costly {
			v.until = time.Now().Add(costlyLifetime)
		}
		if a.sure {
			v.service = a.service
		}
	})
}

// close ends all questions and waits for that.
func (n *names) close() {
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()
	n.stop()
	n.asking.Wait()
}

// inHosts reports whether the hosts file has the host of a request, and logs it
// once.
func (t *Transport) inHosts(host string) bool {
	addrs := t.hosts.Lookup(host)
	if len(addrs) == 0 {
		return false
	}
	t.names.mu.Lock()
	defer t.names.mu.Unlock()
	if !t.names.told[host] && len(t.names.told) < maxVerdicts {
		t.names.told[strings.Clone(host)] = true
		t.logger().Info("sidestep: the host is in the hosts file, so that its requests go through the base transport",
			"host", host, "file", t.hosts.Path(), "addresses", addrs)
	}
	return true
}

// ownDomain returns the domain of the cluster that the Source reads.
func ownDomain(source discovery.Source) string {
	if s, ok := source.(interface{ Domain() string }); ok {
		if domain := s.Domain(); domain != "" {
			return domain
		}
	}
	return kube.InCluster().Domain()
}

// canonical returns a target as its Source shares it.
func (t *Transport) canonical(target discovery.Target) discovery.Target {
	if s, ok := t.selector.Source(target.Scheme).(interface {
		Canonical(discovery.Target) discovery.Target
	}); ok {
		return s.Canonical(target)
	}
	return target
}

// A lookupFunc reports whether DNS knows a Service by the name that a URL has as
// its host.
type lookupFunc func(ctx context.Context, host string) (bool, error)

// lookupService asks the cluster's DNS for the name that the search path of a
// pod would make of host.
func lookupService(ctx context.Context, host string) (bool, error) {
	if os.Getenv("KUBERNETES_SERVICE_HOST") == "" {
		return false, nil // not in a pod, so whatever DNS there is knows no Services
	}
	service, namespace, _ := strings.Cut(host, ".")
	target := dns.System().Canonical(discovery.Target{Service: service, Namespace: namespace})
	if target.Namespace == "" {
		return false, nil // nothing tells the pod's own
	}
	name := cmp.Or(target.Domain, "cluster.local")
	_, err := net.DefaultResolver.LookupHost(ctx, target.Service+"."+target.Namespace+".svc."+name+".")
	var dnsError *net.DNSError
	if errors.As(err, &dnsError) && dnsError.IsNotFound {
		return false, nil
	}
	return err == nil, err
}
