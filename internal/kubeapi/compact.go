package kubeapi

import (
	"slices"
	"strings"
	"sync"
)

// compact takes out of a slice what decoding has left over in it, and what others
// hold as well. Slices are the bulk of what a watch keeps in memory. It leaves
// other objects as they are.
func compact(object any) {
	s, ok := object.(*EndpointSlice)
	if !ok {
		return
	}
	s.Endpoints = slices.Clone(s.Endpoints)
	interned.mu.Lock()
	defer interned.mu.Unlock()
	for i := range s.Endpoints {
		e := &s.Endpoints[i]
		intern(&e.NodeName, &e.Zone)
		if e.TargetRef != nil {
			intern(&e.TargetRef.Kind)
		}
		if e.Hints != nil {
			e.Hints.ForZones.intern()
			e.Hints.ForNodes.intern()
		}
		share(&e.Conditions.Ready, &e.Conditions.Serving, &e.Conditions.Terminating)
	}
}

// What conditions point to. Objects are never changed.
var yes, no = true, false

func share(conditions ...**bool) {
	for _, c := range conditions {
		switch {
		case *c == nil:
		case **c:
			*c = &yes
		default:
			*c = &no
		}
	}
}

// Ten thousand endpoints name a few hundred nodes, a few zones and one kind. The
// interned strings are those, so that one copy of each will do.
var interned struct {
	mu    sync.Mutex
	known map[string]string // guarded by mu
}

// maxInterned bounds the interned strings: clusters have at most some 5,000
// nodes. With more it begins anew.
const maxInterned = 8192

// intern replaces strings by the copies that are kept of them. It is called with
// the mu of interned held.
func intern(texts ...*string) {
	for _, s := range texts {
		known, ok := interned.known[*s]
		if !ok {
			if interned.known == nil || len(interned.known) >= maxInterned {
				interned.known = make(map[string]string)
			}
			known = strings.Clone(*s)
			interned.known[known] = known
		}
		*s = known
	}
}

func (n Names) intern() {
	for i := range n {
		intern(&n[i])
	}
}
