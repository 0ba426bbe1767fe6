package topology

import (
	"errors"

	"github.com/sidestep-lb/sidestep/discovery"
)

// ErrNodeUnknown says why a client uses the cluster IP of a Service.
var ErrNodeUnknown = errors.New("internalTrafficPolicy is Local and the client's own node is unknown, so that its requests go through the cluster IP, " +
	"which balances connections, not requests: set " + envNode + " by the downward API (fieldRef: spec.nodeName)")

// NeedsNode reports whether a client at the given place has to go through the
// Service's cluster IP, for the reason that ErrNodeUnknown tells.
func NeedsNode(s *discovery.Snapshot, at Locality) bool {
	return s.LocalOnly && at.Node == "" && s.ClusterIP.IsValid()
}

// proxied returns the cluster IP as an endpoint.
func proxied(s *discovery.Snapshot) discovery.Endpoint {
	e := discovery.Endpoint{Addr: s.ClusterIP, Ready: true, Serving: true}
	if len(s.Endpoints) > 0 {
		e.AppProtocol = s.Endpoints[0].AppProtocol // that of the port
	}
	return e
}
