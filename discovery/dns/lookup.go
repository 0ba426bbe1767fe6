package dns

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"time"

	miekg "github.com/miekg/dns"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/internal/podfiles"
)

// A lookup finds the endpoints of one target, again and again.
type lookup struct {
	target discovery.Target // canonical, with a port
	names  []string         // that it may mean, absolute, see relative.go
	domain string           // of the cluster
	found  int              // which of the names had endpoints last
	hosts  *podfiles.Hosts
	config Config
	client client

	hostsTold  bool               // the log says that the name is in the hosts file
	knownHosts map[string]srvHost // see srvHosts; owned by the caller of read
}

// A reading is what a successful look-up says.
type reading struct {
	endpoints []discovery.Endpoint
	ttl       time.Duration // as the server gave it; for how long there is nothing where there are no endpoints
	reason    error         // why there are no endpoints
	partly    error         // why some endpoints may be missing
	truncated bool          // for the server cannot tell all: those known before may be there still
	virtual   bool          // the endpoint is the cluster IP of the Service
}

// readTarget looks up the one name of the target.
func (l *lookup) readTarget(ctx context.Context) (reading, error) {
	if l.target.Port.Name != "" {
		return l.byName(ctx)
	}
	return l.byNumber(ctx)
}

func (l *lookup) byNumber(ctx context.Context) (reading, error) {
	r, err := l.client.addresses(ctx, hostName(l.target))
	if err != nil {
		return reading{}, err
	}
	if len(r.addrs) == 0 {
		return reading{ttl: r.ttl, reason: l.absent(r.status())}, nil
	}
	endpoints := make([]discovery.Endpoint, 0, len(r.addrs))
	for _, addr := range r.addrs {
		endpoints = append(endpoints, newEndpoint(addr, l.target.Port.Number, ""))
	}
	endpoints, err = l.usable(endpoints)
	return reading{endpoints: endpoints, ttl: r.ttl, truncated: r.truncated}, err
}

// byName follows RFC 2782. All records that Kubernetes makes have one priority
// and one weight.
func (l *lookup) byName(ctx context.Context) (reading, error) {
	host := hostName(l.target)
	services, err := l.client.records(ctx, "_"+l.target.Port.Name+"._tcp."+host, miekg.TypeSRV)
	if err != nil {
		return reading{}, err
	}
	all := services.found
	if !services.truncated {
		l.forgetHosts(all)
	}
	if len(all) == 0 {
		return reading{ttl: services.ttl, reason: l.absentPort(ctx, host, status(services.exists))}, nil
	}
	r := reading{ttl: services.ttl, virtual: l.isVirtual(all), truncated: services.truncated}
	var failed error
	for rest := all; len(rest) > 0 && len(r.endpoints) == 0; {
		services.found, rest = splitPriority(rest)
		if err := l.addServices(ctx, &r, services); err != nil {
			return reading{}, err
		}
		failed = cmp.Or(failed, r.partly)
	}
	r.partly = failed
	switch {
	case len(r.endpoints) > 0:
	case failed != nil:
		return reading{}, failed
	default:
		return reading{ttl: r.ttl, reason: l.absent(statusOf(all))}, nil
	}
	r.endpoints, err = l.usable(r.endpoints)
	return r, err
}

// addServices adds to r the endpoints of SRV records of one priority, those that
// can be looked up: "the client SHOULD try the next" (RFC 2782). If there are
// others, r is partial.
func (l *lookup) addServices(ctx context.Context, r *reading, services records) error {
	byTarget, err := l.srvHosts(ctx, services)
	if err != nil {
		return err
	}
	failed := 0
	for _, h := range byTarget {
		if h.err != nil {
			failed++
			r.partly = h.err
		}
	}
	if failed > 0 {
		r.partly = fmt.Errorf("%d of the %d hosts of the SRV records cannot be looked up: %w", failed, len(byTarget), r.partly)
	}
	weighted := haveWeights(services.found)
	for _, rr := range services.found {
		srv := rr.(*miekg.SRV)
		target := byTarget[miekg.CanonicalName(srv.Target)].addrs
		pod := ""
		if !r.virtual && l.target.Service != "" {
			pod = podOf(srv.Target)
		}
		for _, addr := range target.addrs {
			e := newEndpoint(addr, srv.Port, pod)
			if weighted {
				e.Weight = uint32(srv.Weight)
			}
			r.endpoints = append(r.endpoints, e)
		}
		r.ttl = min(r.ttl, target.ttl)
	}
	return nil
}

// absent says what is known when there are no records.
func (l *lookup) absent(status string) error {
	if l.target.Service == "" {
		return fmt.Errorf("%s: %w: DNS answers %s", l.target, discovery.ErrServiceNotFound, status)
	}
	return fmt.Errorf("%s: %w, or none of its pods is ready: DNS answers %s", l.target, discovery.ErrServiceNotFound, status)
}

// absentPort tells a Service without that port from one that has nothing to
// offer at all.
func (l *lookup) absentPort(ctx context.Context, host, status string) error {
	r, err := l.client.addresses(ctx, host)
	if err != nil || len(r.addrs) == 0 {
		return l.absent(status)
	}
	return fmt.Errorf("%s: %w: the Service has pods, but no TCP port named %s: DNS answers %s",
		l.target, discovery.ErrPortNotFound, l.target.Port.Name, status)
}

// usable returns the endpoints without repetitions and without those that no
// pod can be, in one address family: that of the IPv4 addresses if there are
// any. Nothing left is a failure, for the answer did name endpoints.
func (l *lookup) usable(endpoints []discovery.Endpoint) ([]discovery.Endpoint, error) {
	var ipv4, ipv6 []discovery.Endpoint
	var refused error
	seen := make(map[netip.AddrPort]bool, len(endpoints))
	for _, e := range endpoints {
		if err := l.check(e.Addr); err != nil {
			refused = err
			continue
		}
		if seen[e.Addr] {
			continue
		}
		seen[e.Addr] = true
		if e.Addr.Addr().Is4() {
			ipv4 = append(ipv4, e)
		} else {
			ipv6 = append(ipv6, e)
		}
	}
	switch {
	case len(ipv4) > 0:
		return ipv4, nil
	case len(ipv6) > 0:
		return ipv6, nil
	default:
		return nil, fmt.Errorf("none of the endpoints that DNS answers can be a pod: %w", refused)
	}
}

func (l *lookup) check(addr netip.AddrPort) error {
	if addr.Port() == 0 {
		return fmt.Errorf("the port of %s is zero", addr)
	}
	if l.config.AllowLocalAddresses {
		return nil
	}
	return discovery.CheckAddr(addr.Addr())
}

func newEndpoint(addr netip.Addr, port uint16, pod string) discovery.Endpoint {
	return discovery.Endpoint{Addr: netip.AddrPortFrom(addr, port), Pod: pod, Ready: true, Serving: true}
}
