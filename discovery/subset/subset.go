// Package subset chooses, for one client of a very large service, the endpoints
// that this client connects to. It is pure, and stable: when an endpoint comes
// or goes, at most one other of the subset changes.
//
//	mine := subset.Rendezvous(endpoints, podName, 20)
//
// It does not even out the load among the endpoints beyond what chance does:
// with few clients or small subsets some endpoints get no client at all.
package subset

import (
	"cmp"
	"slices"

	"github.com/sidestep-lb/sidestep/discovery"
)

// Rendezvous returns the size endpoints that rank highest for the client, by
// rendezvous hashing of its name with their addresses and UIDs, in the order of
// endpoints. It returns all of them if size is 0 or covers them. Clients should
// have different names, and each should keep its own, as pods do.
func Rendezvous(endpoints []discovery.Endpoint, client string, size int) []discovery.Endpoint {
	if size <= 0 || len(endpoints) <= size {
		return endpoints
	}
	type ranked struct {
		score uint64
		index int
	}
	seed := fnv(offset64, client)
	ranks := make([]ranked, len(endpoints))
	for i := range endpoints {
		ranks[i] = ranked{score(seed, &endpoints[i]), i}
	}
	slices.SortFunc(ranks, func(a, b ranked) int { return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.index, b.index)) })
	ranks = ranks[:size]
	slices.SortFunc(ranks, func(a, b ranked) int { return cmp.Compare(a.index, b.index) })
	chosen := make([]discovery.Endpoint, size)
	for i, r := range ranks {
		chosen[i] = endpoints[r.index]
	}
	return chosen
}

func score(seed uint64, e *discovery.Endpoint) uint64 {
	a := e.Addr.Addr().As16()
	h := fnv(seed, string(a[:]))
	h = fnv(h, string([]byte{byte(e.Addr.Port() >> 8), byte(e.Addr.Port())}))
	return mix(fnv(h, e.UID))
}

const (
	offset64 = 14695981039346656037
	prime64  = 1099511628211
)

// fnv continues an FNV-1a hash. Its seed is fixed: a restarted client chooses
// the same subset again.
func fnv(h uint64, s string) uint64 {
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * prime64
	}
	return h
}

// mix spreads the last bytes over all bits (the finalizer of MurmurHash3), which
// FNV does not: addresses that differ in the last byte would rank alike.
func mix(h uint64) uint64 {
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
