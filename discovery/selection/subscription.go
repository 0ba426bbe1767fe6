package selection

import (
	"cmp"
	"context"
	"log/slog"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/selection/subset"
	"github.com/sidestep-lb/sidestep/discovery/topology"
)

// A Subscription is to the endpoints of one target that one client uses. Next is
// called by one goroutine; the other methods, which are those of
// [discovery.Subscription], may be called from any.
type Subscription struct {
	*discovery.Subscription // to the whole target

	// Set at the start and read-only.
	chooser   *subset.Chooser
	spillOver bool
	logger    *slog.Logger // nil: slog.Default()

	// Owned by the caller of Next.
	locality topology.Locality // its zone may be inferred
	last     View
}

// A View is what is known of a target, and what this client uses of it.
type View struct {
	discovery.View
	// Changed says that Endpoints may differ from those of the View before: there is
	// another Snapshot, or the client's peers are others.
	Changed bool
	// Endpoints are those of the Snapshot that this client uses, in order. They must
	// not be changed.
	Endpoints []discovery.Endpoint
	// ThroughClusterIP says that Endpoints is the cluster IP of the Service, because
	// its traffic policy is Local and the client's node is not known: see
	// [topology.NeedsNode].
	ThroughClusterIP bool
}

// Next waits for a View that is news: another state of the watch, or other peers. It
// skips those in between when its caller is slow. The error is
// discovery.ErrClosed or that of ctx.
func (s *Subscription) Next(ctx context.Context) (View, error) {
	view, changed, err := s.chooser.Next(ctx)
	if err != nil {
		return View{}, err
	}
	s.last.View, s.last.Changed = view, changed
	if changed {
		s.choose(view.Snapshot)
	}
	return s.last, nil
}

// choose updates the last View for a Snapshot.
func (s *Subscription) choose(snapshot *discovery.Snapshot) {
	s.locality = s.locality.Infer(snapshot)
	levels := topology.Select
	if s.spillOver {
		levels = topology.Spill
	}
	s.last.Endpoints = s.chooser.Choose(levels(snapshot, s.locality))
	needsNode := topology.NeedsNode(snapshot, s.locality)
	if needsNode && !s.last.ThroughClusterIP {
		cmp.Or(s.logger, slog.Default()).Warn("sidestep: degraded to the cluster IP",
			"target", s.Target().String(), "cluster_ip", snapshot.ClusterIP, "error", topology.ErrNodeUnknown)
	}
	s.last.ThroughClusterIP = needsNode
}

// Close closes the subscription, and that to the peers if there is one. It may be
// called more than once, and makes a waiting Next return discovery.ErrClosed.
func (s *Subscription) Close() { s.chooser.Close() }
