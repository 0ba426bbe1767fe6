package discovery

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// A Snapshot holds all endpoints of a target at one moment. It is complete and
// immutable, never a delta. An empty Snapshot is an answer like any other: the
// source read successfully that nothing serves the target.
type Snapshot struct {
	// Endpoints are sorted by address and then by UID, without repetitions of
	// one address and port. They hold the endpoints that are not ready, too.
	Endpoints []Endpoint
	// LocalOnly is the Service's internalTrafficPolicy "Local": only endpoints
	// on the client's own node may be used.
	LocalOnly bool
	// ClusterIP is where kube-proxy forwards the port of the target, if the source
	// knows that it does anywhere. It balances connections, not requests, and is of
	// use to a client that cannot know which endpoints are its own, see package
	// topology.
	ClusterIP netip.AddrPort
	// ClientAffinity is the Service's sessionAffinity "ClientIP": kube-proxy sends
	// whatever comes from one IP address to one endpoint, as long as that may be
	// used. To a pod that is its client, this means one endpoint for all requests,
	// which is why no balancer of this module goes by it; see kube.ErrAffinity. Of
	// headless Services it is not set, as kube-proxy does not serve them.
	ClientAffinity bool
	// Reason says why there are no endpoints where the source knows: it wraps
	// ErrServiceNotFound, ErrPortNotFound or ErrNoEndpoints. Nil when there are
	// some, or when the Service merely has no pods.
	Reason error
	// Degraded says why the Snapshot is less than was asked for, for example
	// that it comes from DNS because the API server refused to tell. Nil as a
	// rule.
	Degraded error
}

// NewSnapshot returns a Snapshot of the endpoints, sorted.
func NewSnapshot(endpoints []Endpoint) *Snapshot {
	// Pointers are sorted rather than endpoints, which are large to move about,
	// and would cost every program a sort function of their own.
	order := make([]*Endpoint, len(endpoints))
	for i := range endpoints {
		order[i] = &endpoints[i]
	}
	slices.SortFunc(order, func(a, b *Endpoint) int {
		return cmp.Or(a.Addr.Compare(b.Addr), strings.Compare(a.UID, b.UID))
	})
	sorted := make([]Endpoint, len(endpoints))
	for i, e := range order {
		sorted[i] = *e
	}
	return &Snapshot{Endpoints: sorted}
}

// Equal reports whether s and o say the same.
func (s *Snapshot) Equal(o *Snapshot) bool {
	if s == nil || o == nil {
		return s == o
	}
	return s.LocalOnly == o.LocalOnly && s.ClusterIP == o.ClusterIP && s.ClientAffinity == o.ClientAffinity && errorText(s.Reason) == errorText(o.Reason) && errorText(s.Degraded) == errorText(o.Degraded) &&
		EqualEndpoints(s.Endpoints, o.Endpoints)
}

// EqualEndpoints reports whether a and b are the same endpoints in the same
// order, with all that is known of them.
func EqualEndpoints(a, b []Endpoint) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if &a[i] != &b[i] && !a[i].Equal(&b[i]) {
			return false
		}
	}
	return true
}

// Ready counts the endpoints that are ready.
func (s *Snapshot) Ready() int {
	n := 0
	for i := range s.Endpoints {
		if s.Endpoints[i].Ready {
			n++
		}
	}
	return n
}

// Unusable returns the error for a request to target when none of the
// Snapshot's endpoints may be used. It wraps the Snapshot's Reason or, where
// there is none, ErrNoEndpoints.
func (s *Snapshot) Unusable(target Target) error {
	switch {
	case s.Reason != nil:
		return s.Reason
	case len(s.Endpoints) == 0:
		return fmt.Errorf("%s: %w: it has no pods", target, ErrNoEndpoints)
	case s.LocalOnly:
		return fmt.Errorf("%s: %w: internalTrafficPolicy is Local and none of its %d endpoints (%d ready) is known to run on this node, which SIDESTEP_NODE tells",
			target, ErrNoEndpoints, len(s.Endpoints), s.Ready())
	default:
		return fmt.Errorf("%s: %w: %d of its %d endpoints are ready", target, ErrNoEndpoints, s.Ready(), len(s.Endpoints))
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// Errors that a caller can tell apart with errors.Is. The errors that wrap them
// name the target, what was asked of whom, and what would help.
var (
	// ErrServiceNotFound says that there is no such Service.
	ErrServiceNotFound = errors.New("no such service")
	// ErrPortNotFound says that the Service has no such port, or that the
	// target names none and the Service has several. The text lists them.
	ErrPortNotFound = errors.New("no such port")
	// ErrNoEndpoints says that the Service is there and none of its endpoints
	// may be used now.
	ErrNoEndpoints = errors.New("no endpoint ready")
	// ErrForbidden says that the source refused to tell (HTTP status 403). The
	// text holds the rule that would allow it.
	ErrForbidden = errors.New("forbidden")
	// ErrUnauthenticated says that the source does not accept the client's
	// credentials (HTTP status 401). New ones may be on their way.
	ErrUnauthenticated = errors.New("credentials not accepted")
	// ErrUnavailable says that the process has no source of this kind at all,
	// for example because it does not run in a cluster.
	ErrUnavailable = errors.New("source unavailable")
	// ErrClosed says that the subscription has been closed.
	ErrClosed = errors.New("closed")
)

// IsPermanent reports whether err will stay until a person does something about
// it, so that a request had better fail at once than wait for it to pass.
func IsPermanent(err error) bool {
	return errors.Is(err, ErrForbidden) || errors.Is(err, ErrUnavailable)
}
