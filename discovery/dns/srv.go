package dns

import (
	"math"
	"slices"

	miekg "github.com/miekg/dns"
)

// splitPriority splits off the SRV records to use before all others: "a client
// MUST attempt to contact the target host with the lowest-numbered priority it
// can reach" (RFC 2782). Here, a host without addresses cannot be reached. What
// comes of connections is not known here, so the others do not stand in for
// hosts that are down.
func splitPriority(services []miekg.RR) (first, rest []miekg.RR) {
	lowest := uint16(math.MaxUint16)
	for _, rr := range services {
		lowest = min(lowest, rr.(*miekg.SRV).Priority)
	}
	for _, rr := range services {
		if rr.(*miekg.SRV).Priority == lowest {
			first = append(first, rr)
		} else {
			rest = append(rest, rr)
		}
	}
	return first, rest
}

// haveWeights reports whether the weights of the SRV records say anything.
func haveWeights(services []miekg.RR) bool {
	return slices.ContainsFunc(services, func(rr miekg.RR) bool {
		return rr.(*miekg.SRV).Weight != services[0].(*miekg.SRV).Weight
	})
}

// statusOf says what is wrong with SRV records that lead nowhere.
func statusOf(services []miekg.RR) string {
	if len(services) == 1 && services[0].(*miekg.SRV).Target == "." {
		return `"the service is decidedly not available" (SRV target ".", RFC 2782)`
	}
	return "SRV records whose targets have no addresses"
}
