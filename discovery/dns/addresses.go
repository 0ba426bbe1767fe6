package dns

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"sync"
	"time"

	miekg "github.com/miekg/dns"
)

// addresses are what a name leads to.
type addresses struct {
	addrs     []netip.Addr
	ttl       time.Duration
	exists    bool
	truncated bool // they may be a part of what there is
}

func (a addresses) status() string { return status(a.exists) }

func status(exists bool) string {
	if exists {
		return "no records"
	}
	return "NXDOMAIN"
}

// addresses asks for IPv4 and IPv6 addresses at the same time and returns those
// of one family: the answer to A decides if it has some. Its failure is that of
// the whole, for the family must not change with every lost packet. Of the options
// of resolv.conf, single-request asks for one after the other, and no-aaaa for A
// alone.
func (c *client) addresses(ctx context.Context, name string) (addresses, error) {
	if conf := c.servers.conf(); conf.SingleRequest || conf.NoAAAA {
		found, err := c.records(ctx, name, miekg.TypeA)
		if err == nil && len(found.found) == 0 && found.exists && !conf.NoAAAA {
			var ipv6 records
			if ipv6, err = c.records(ctx, name, miekg.TypeAAAA); len(ipv6.found) > 0 {
				found = ipv6
			}
		}
		if err != nil {
			return addresses{}, err
		}
		return toAddresses(found)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var ipv6 records
	var ipv6Err error
	var ended sync.WaitGroup
	ended.Go(func() { ipv6, ipv6Err = c.records(ctx, name, miekg.TypeAAAA) })

	ipv4, err := c.records(ctx, name, miekg.TypeA)
	if err != nil || len(ipv4.found) > 0 || !ipv4.exists {
		cancel()
		ended.Wait()
		if err != nil {
			return addresses{}, err
		}
		return toAddresses(ipv4)
	}
	ended.Wait()
	if ipv6Err != nil {
		return addresses{}, ipv6Err
	}
	if len(ipv6.found) == 0 {
		return toAddresses(ipv4)
	}
	return toAddresses(ipv6)
}

func toAddresses(r records) (addresses, error) {
	a := addresses{ttl: r.ttl, exists: r.exists, truncated: r.truncated}
	for _, rr := range r.found {
		addr, err := addrOf(rr)
		if err != nil {
			return addresses{}, fmt.Errorf("look up %s: %w", r.name, err)
		}
		a.addrs = append(a.addrs, addr)
	}
	return a, nil
}

// addressesAgain is addresses for a name that had IPv4 addresses the last time. It
// costs one query while that is so.
func (c *client) addressesAgain(ctx context.Context, name string) (addresses, error) {
	ipv4, err := c.records(ctx, name, miekg.TypeA)
	switch {
	case err != nil:
		return addresses{}, err
	case len(ipv4.found) > 0 || !ipv4.exists:
		return toAddresses(ipv4)
	}
	ipv6, err := c.records(ctx, name, miekg.TypeAAAA)
	switch {
	case err != nil:
		return addresses{}, err
	case len(ipv6.found) == 0:
		return toAddresses(ipv4)
	}
	return toAddresses(ipv6)
}

// additional returns the addresses in the additional section of an answer.
func additional(section []miekg.RR) (map[string]addresses, error) {
	byName := make(map[string]addresses)
	for _, rr := range section {
		h := rr.Header()
		if h.Class != miekg.ClassINET || h.Rrtype != miekg.TypeA && h.Rrtype != miekg.TypeAAAA {
			continue
		}
		addr, err := addrOf(rr)
		if err != nil {
			return nil, fmt.Errorf("look up %s: %w", h.Name, err)
		}
		name := miekg.CanonicalName(h.Name)
		a, known := byName[name]
		if !known {
			a.ttl = math.MaxInt64
		}
		a.addrs, a.ttl = append(a.addrs, addr), min(a.ttl, ttlOf(h))
		byName[name] = a
	}
	return byName, nil
}
