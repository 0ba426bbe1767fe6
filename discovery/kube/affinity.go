package kube

import (
	"errors"
	"log/slog"

	"github.com/sidestep-lb/sidestep/discovery"
)

// ErrAffinity says what becomes of a Service's sessionAffinity ClientIP. A source
// sets Snapshot.ClientAffinity, and nothing follows from it: kube-proxy sends all
// connections of one client address to one pod, and to pods that is one pod for all
// requests of a process, where the Service's other clients are left to spread the
// load. A client that needs the same pod for the same user has a hash policy for it.
var ErrAffinity = errors.New("sessionAffinity ClientIP is not honoured: every request of this process comes from one address, " +
	"so that all would go to one pod; to keep the requests of one user on one pod, use the policy ring_hash or maglev with a key")

// An affinityNotice logs once that a Service's sessionAffinity is not honoured.
type affinityNotice struct{ told bool }

func (n *affinityNotice) see(target discovery.Target, s *discovery.Snapshot) {
	if s.ClientAffinity && !n.told {
		slog.Warn("sidestep: the Service's session affinity is not honoured", "target", target.String(), "error", ErrAffinity)
		n.told = true
	}
}
