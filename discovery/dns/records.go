package dns

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"time"

	miekg "github.com/miekg/dns"

	"github.com/sidestep-lb/sidestep/internal/podfiles"
)

// maxAliases is how many aliases (CNAME) may lie between a name and its records.
const maxAliases = 8

// records are what one answer says about a name and a type.
type records struct {
	name  string // the end of the aliases, canonical
	found []miekg.RR
	extra []miekg.RR // the additional section
	// truncated says that found may be a part of what there is.
	truncated bool
	// exists is false after NXDOMAIN. With found empty and exists true, the
	// name has records of other types only (NODATA).
	exists bool
	// ttl is the least of all records on the way. With found empty, it is for
	// how long that may be believed (RFC 2308, section 5).
	ttl time.Duration
}

// records asks for the records of a name, through aliases.
func (c *client) records(ctx context.Context, name string, qtype uint16) (records, error) {
	ttl := time.Duration(math.MaxInt64)
	for range maxAliases {
		answer, err := c.ask(ctx, name, qtype)
		if err != nil {
			return records{}, err
		}
		r, err := extract(answer, name, qtype)
		if err != nil {
			return records{}, fmt.Errorf("look up %s %s: %w", name, miekg.TypeToString[qtype], err)
		}
		r.ttl = min(r.ttl, ttl)
		switch {
		case len(r.found) > 0 || !r.exists:
			return r, nil
		case r.name != miekg.CanonicalName(name): // the server did not follow its own alias
		case r.truncated:
			return records{}, fmt.Errorf("look up %s %s: %w", name, miekg.TypeToString[qtype], errTruncated)
		default:
			return r, nil
		}
		name, ttl = r.name, r.ttl
	}
	return records{}, fmt.Errorf("look up %s %s: %w", name, miekg.TypeToString[qtype], errAliases)
}

var errAliases = fmt.Errorf("more than %d aliases", maxAliases)

// extract follows the aliases in answer from name to records of qtype, and leaves
// out those of other types and classes. Records of another name alone, such as come
// of a server that rewrites questions and not answers, are an error: they are not
// what was asked for, and to say that there is nothing would be wrong.
func extract(answer *miekg.Msg, name string, qtype uint16) (records, error) {
	r := records{
		name:  miekg.CanonicalName(name),
		extra: answer.Extra,

		truncated: answer.Truncated,
		exists:    answer.Rcode != miekg.RcodeNameError,
		ttl:       math.MaxInt64,
	}
	for range maxAliases {
		var alias *miekg.CNAME
		for _, rr := range answer.Answer {
			h := rr.Header()
			if h.Class != miekg.ClassINET || miekg.CanonicalName(h.Name) != r.name {
				continue
			}
			if h.Rrtype == qtype {
				r.found = append(r.found, rr)
				r.ttl = min(r.ttl, ttlOf(h))
			} else if cname, ok := rr.(*miekg.CNAME); ok {
				alias = cname
			}
		}
		switch {
		case len(r.found) > 0:
			return r, nil
		case alias == nil && foreign(answer, name, r.name, qtype) != "":
			return records{}, fmt.Errorf("the answer has records of %s in place of those of %s", foreign(answer, name, r.name, qtype), name)
		case alias == nil:
			r.ttl = min(r.ttl, negativeTTL(answer))
			return r, nil
		case alias.Target == "":
			return records{}, errEmpty
		}
		r.ttl = min(r.ttl, ttlOf(&alias.Hdr))
		r.name = miekg.CanonicalName(alias.Target)
	}
	return records{}, errAliases
}

// foreign returns the owner of a record in answer that would be an answer if the
// question had been for it, where the question was for name and led to end. It is
// empty if there is none, or if the server may be asked for end.
func foreign(answer *miekg.Msg, name, end string, qtype uint16) string {
	if end != miekg.CanonicalName(name) {
		return ""
	}
	for _, rr := range answer.Answer {
		h := rr.Header()
		if h.Class == miekg.ClassINET && (h.Rrtype == qtype || h.Rrtype == miekg.TypeCNAME) && miekg.CanonicalName(h.Name) != end {
			return h.Name
		}
	}
	return ""
}

// errEmpty says that a record has no data, as in a dynamic update (RFC 2136).
var errEmpty = errors.New("malformed answer: a record without data")

// ttlOf reads a TTL with the highest bit set as zero (RFC 2181, section 8).
func ttlOf(h *miekg.RR_Header) time.Duration {
	if h.Ttl > math.MaxInt32 {
		return 0
	}
	return time.Duration(h.Ttl) * time.Second
}

// negativeTTL is zero where the answer does not say (RFC 2308, section 5).
func negativeTTL(answer *miekg.Msg) time.Duration {
	for _, rr := range answer.Ns {
		if soa, ok := rr.(*miekg.SOA); ok {
			minimum := miekg.RR_Header{Ttl: soa.Minttl}
			return min(ttlOf(&soa.Hdr), ttlOf(&minimum))
		}
	}
	return 0
}

// addrOf returns the address in an A or AAAA record.
func addrOf(rr miekg.RR) (netip.Addr, error) {
	var ip []byte
	switch rr := rr.(type) {
	case *miekg.A:
		ip = rr.A
	case *miekg.AAAA:
		ip = rr.AAAA
	}
	addr, ok := netip.AddrFromSlice(ip)
	if !ok {
		return netip.Addr{}, errEmpty
	}
	return addr.Unmap(), nil
}

// podOf returns the host name of a pod from the target of its SRV record, or
// nothing for a pod without one, whose label is its IP address with dashes.
func podOf(target string) string {
	label, _, _ := strings.Cut(target, ".")
	if !podfiles.IsLabel(label) {
		return ""
	}
	for _, separator := range []string{".", ":"} {
		if _, err := netip.ParseAddr(strings.ReplaceAll(label, "-", separator)); err == nil {
			return ""
		}
	}
	return label
}
