package subset

import "github.com/sidestep-lb/sidestep/discovery"

// A client and an endpoint are hashed once each, and a pair of them costs but
// one more mix. All hashes have fixed seeds: every client computes the same
// ones, and a restarted client chooses the same subset again.

func clientHash(name string) uint64 { return mix(fnv(offset64, name)) }

func endpointHashes(endpoints []discovery.Endpoint) []uint64 {
	hashes := make([]uint64, len(endpoints))
	for i := range endpoints {
		hashes[i] = endpointHash(&endpoints[i])
	}
	return hashes
}

func endpointHash(e *discovery.Endpoint) uint64 {
	a := e.Addr.Addr().As16()
	h := fnv(offset64, string(a[:]))
	h = fnv(h, string([]byte{byte(e.Addr.Port() >> 8), byte(e.Addr.Port())}))
	return mix(fnv(h, e.UID))
}

const (
	offset64 = 14695981039346656037
	prime64  = 1099511628211
)

// fnv continues an FNV-1a hash.
func fnv(h uint64, s string) uint64 {
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * prime64
	}
	return h
}

// mix spreads each bit over all (the finalizer of MurmurHash3), which FNV does
// not: addresses that differ in the last byte would rank alike.
func mix(h uint64) uint64 {
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
