package discovery

import "net/netip"

// An addrIndex finds the endpoint that has an address, be it the other one.
type addrIndex map[netip.Addr]*Endpoint

func indexOf(s *Snapshot, readyOnly bool) addrIndex {
	index := make(addrIndex, len(s.Endpoints))
	for i := range s.Endpoints {
		e := &s.Endpoints[i]
		if readyOnly && !e.Ready {
			continue
		}
		if e.AltAddr.IsValid() {
			index[e.AltAddr.Addr()] = e
		}
		index[e.Addr.Addr()] = e
	}
	return index
}

// sameAddrs reports whether found has the addresses of the ready endpoints of
// last, and no others. Ports may differ: DNS does not tell those of a number.
func sameAddrs(last, found *Snapshot) bool {
	known := indexOf(last, true)
	seen := make(map[*Endpoint]bool, len(found.Endpoints))
	for i := range found.Endpoints {
		e := known[found.Endpoints[i].Addr.Addr()]
		if e == nil {
			return false
		}
		seen[e] = true
	}
	return len(seen) == last.Ready()
}

// inherit returns found with what the last Snapshot of a better source knew of
// the same endpoints, so that they stay the endpoints that they were, and with
// what was the same for all of them: the protocol of their port and, where the
// target has a number that is not the pods' own, that of the pods.
func inherit(target Target, last, found *Snapshot) Snapshot {
	told := *found
	told.ClientAffinity = last.ClientAffinity
	known := indexOf(last, false)
	protocol, port := common(last)
	if target.Port.Number == 0 || !arePods(known, found) {
		port = 0
	}
	endpoints := make([]Endpoint, len(found.Endpoints))
	for i := range found.Endpoints {
		e := &endpoints[i]
		*e = found.Endpoints[i]
		if port != 0 {
			e.Addr = netip.AddrPortFrom(e.Addr.Addr(), port)
		}
		if before := known[e.Addr.Addr()]; before != nil && (before.Addr == e.Addr || before.AltAddr == e.Addr) {
			weight := e.Weight
			*e = *before
			e.Ready, e.Serving, e.Terminating, e.Weight = true, true, false, weight
		}
		if e.AppProtocol == "" {
			e.AppProtocol = protocol
		}
	}
	told.Endpoints = NewSnapshot(endpoints).Endpoints
	return told
}

// common returns what all endpoints have in common, or nothing.
func common(s *Snapshot) (protocol string, port uint16) {
	for i := range s.Endpoints {
		e := &s.Endpoints[i]
		if i == 0 {
			protocol, port = e.AppProtocol, e.Addr.Port()
		}
		if e.AppProtocol != protocol {
			protocol = ""
		}
		if e.Addr.Port() != port {
			port = 0
		}
	}
	return protocol, port
}

// arePods reports whether what was found for a number is pods, and not the
// cluster IP of the Service, whose port is another.
func arePods(known addrIndex, found *Snapshot) bool {
	if len(found.Endpoints) > 1 {
		return true
	}
	for i := range found.Endpoints {
		if known[found.Endpoints[i].Addr.Addr()] != nil {
			return true
		}
	}
	return false
}
