package dns

import (
	"context"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"sync"
	"time"

	miekg "github.com/miekg/dns"
)

const (
	// maxParallel bounds the look-ups at once for the targets of SRV records.
	maxParallel = 8
	// hostAgain is when a host that could not be looked up is tried again.
	hostAgain = lastRetry
)

// An srvHost is the target of an SRV record. What is known of it is remembered for its
// own TTL: a server that sends no additional section would be asked for each host
// at each look-up otherwise.
type srvHost struct {
	addrs addresses // of the last look-up that did not fail
	until time.Time // when to look it up again
	err   error     // why the last look-up failed
}

// srvHosts returns what is known of the targets of SRV records, by canonical name:
// from the additional section or, for those it leaves out, from memory or by
// asking. A target that cannot be looked up has the addresses that it had, and its
// error.
func (l *lookup) srvHosts(ctx context.Context, services records) (map[string]srvHost, error) {
	extra, err := additional(services.extra)
	if err != nil {
		return nil, err
	}
	found := make(map[string]srvHost)
	var missing []string
	for _, rr := range services.found {
		name := miekg.CanonicalName(rr.(*miekg.SRV).Target)
		if _, done := found[name]; done {
			continue
		}
		known, remembered := l.knownHosts[name]
		added, told := extra[name]
		switch {
		case told:
			found[name] = srvHost{addrs: added}
		case name == ".": // "the service is decidedly not available" (RFC 2782)
			found[name] = srvHost{addrs: addresses{ttl: math.MaxInt64}}
		case remembered && time.Now().Before(known.until):
			known.addrs.ttl = math.MaxInt64 // it has its own time
			found[name] = known
		default:
			found[name] = known
			missing = append(missing, name)
		}
	}
	l.askHosts(ctx, missing, found)
	if l.knownHosts == nil {
		l.knownHosts = make(map[string]srvHost)
	}
	maps.Copy(l.knownHosts, found)
	return found, nil
}

// forgetHosts forgets the hosts that services do not name.
func (l *lookup) forgetHosts(services []miekg.RR) {
	named := make(map[string]bool, len(services))
	for _, rr := range services {
		named[miekg.CanonicalName(rr.(*miekg.SRV).Target)] = true
	}
	for name := range l.knownHosts {
		if !named[name] {
			delete(l.knownHosts, name)
		}
	}
}

// askHosts looks up the hosts with these names, a few at a time, and puts what comes of
// it into found.
func (l *lookup) askHosts(ctx context.Context, names []string, found map[string]srvHost) {
	asked := make([]srvHost, len(names))
	slots := make(chan struct{}, maxParallel)
	var ended sync.WaitGroup
	for i, name := range names {
		slots <- struct{}{}
		asked[i] = found[name]
		ended.Go(func() {
			defer func() { <-slots }()
			asked[i].update(ctx, l, name)
		})
	}
	ended.Wait()
	for i, name := range names {
		found[name] = asked[i]
	}
}

// update looks a host up.
func (h *srvHost) update(ctx context.Context, l *lookup, name string) {
	resolve := l.client.addresses
	if len(h.addrs.addrs) > 0 && h.addrs.addrs[0].Is4() {
		resolve = l.client.addressesAgain
	}
	now, err := addresses{}, context.Cause(ctx)
	if err == nil {
		now, err = resolve(ctx, name)
	}
	if err == nil && now.truncated {
		err = fmt.Errorf("look up %s: %w", name, errTruncated)
		now.addrs = union(now.addrs, h.addrs.addrs)
		h.addrs = now
	}
	if err != nil {
		h.err, h.addrs.ttl, h.until = err, hostAgain, time.Now().Add(hostAgain)
		return
	}
	ttl := min(max(now.ttl, l.config.MinTTL), l.config.MaxTTL)
	if len(now.addrs) == 0 {
		ttl = min(ttl, max(maxAbsence, l.config.MinTTL))
	}
	// Less a tenth, as the next look-up of the SRV records may be early by that.
	*h = srvHost{addrs: now, until: time.Now().Add(ttl - ttl/10)}
}

// union returns a and what of b is not in it.
func union(a, b []netip.Addr) []netip.Addr {
	in := make(map[netip.Addr]bool, len(a))
	for _, addr := range a {
		in[addr] = true
	}
	for _, addr := range b {
		if !in[addr] {
			a = append(a, addr)
		}
	}
	return a
}
