package dnstest

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"
)

// An SRV is an SRV record.
type SRV struct {
	// Target is a name. Its addresses, where the server knows them, go into
	// the additional section of the answer.
	Target string
	Port   uint16
	// Priority and Weight mean what RFC 2782 says. A Weight of zero stands for
	// the one that CoreDNS gives to all.
	Priority, Weight uint16
}

// SetA replaces the addresses of name: IPv4 addresses become A records, the
// others AAAA records. With no address at all, the name exists and has none.
// The TTL is rounded down to whole seconds, here as everywhere.
func (s *Server) SetA(name string, ttl time.Duration, addrs ...netip.Addr) {
	var records []dns.RR
	for _, a := range addrs {
		if a.Is4() {
			records = append(records, &dns.A{Hdr: header(name, dns.TypeA, ttl), A: a.AsSlice()})
		} else {
			records = append(records, &dns.AAAA{Hdr: header(name, dns.TypeAAAA, ttl), AAAA: a.AsSlice()})
		}
	}
	s.replace(name, records, dns.TypeA, dns.TypeAAAA)
}

// SetSRV replaces the SRV records of name.
func (s *Server) SetSRV(name string, ttl time.Duration, services ...SRV) {
	var records []dns.RR
	for _, srv := range services {
		records = append(records, &dns.SRV{
			Hdr:      header(name, dns.TypeSRV, ttl),
			Target:   dns.Fqdn(srv.Target),
			Port:     srv.Port,
			Priority: srv.Priority,
			Weight:   cmp.Or(srv.Weight, uint16(max(1, 100/len(services)))),
		})
	}
	s.replace(name, records, dns.TypeSRV)
}

// SetCNAME makes name an alias of target and nothing else.
func (s *Server) SetCNAME(name string, ttl time.Duration, target string) {
	s.Remove(name)
	s.replace(name, []dns.RR{
		&dns.CNAME{Hdr: header(name, dns.TypeCNAME, ttl), Target: dns.Fqdn(target)},
	}, dns.TypeCNAME)
}

// SetPTR makes addr lead back to names. It returns the name that is asked for.
func (s *Server) SetPTR(addr netip.Addr, ttl time.Duration, names ...string) string {
	reverse, _ := dns.ReverseAddr(addr.String()) // fails for what is no address only
	var records []dns.RR
	for _, name := range names {
		records = append(records, &dns.PTR{Hdr: header(reverse, dns.TypePTR, ttl), Ptr: dns.Fqdn(name)})
	}
	s.replace(reverse, records, dns.TypePTR)
	return reverse
}

// Remove forgets all records of name, which does not exist any more then.
func (s *Server) Remove(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.records, dns.CanonicalName(name))
}

// replace puts records in the place of those of the given types.
func (s *Server) replace(name string, records []dns.RR, types ...uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name = dns.CanonicalName(name)
	kept := slices.DeleteFunc(slices.Clone(s.records[name]), func(rr dns.RR) bool {
		return slices.Contains(types, rr.Header().Rrtype)
	})
	s.records[name] = append(kept, records...)
}

func header(name string, rrtype uint16, ttl time.Duration) dns.RR_Header {
	return dns.RR_Header{Name: dns.Fqdn(name), Rrtype: rrtype, Class: dns.ClassINET, Ttl: uint32(ttl / time.Second)}
}
