package resolver

import (
	"context"
	"slices"
	"sync"

	grpcresolver "google.golang.org/grpc/resolver"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/subset"
	"github.com/sidestep-lb/sidestep/discovery/topology"
)

// A nameResolver hands the endpoints of one target to one channel. The watch
// behind it is shared by all channels of the process, and outlives this
// resolver when the channel goes idle while others do not.
type nameResolver struct {
	// Set at the start and read-only.
	cc           grpcresolver.ClientConn
	text         string // the target as the channel knows it
	subscription *discovery.Subscription
	client       string // the name that decides the subset
	subsetSize   int
	close        func() // ends run and waits for it

	locality topology.Locality // its zone may be inferred; owned by run

	// What the channel was told last; owned by run.
	told   bool
	usable []discovery.Endpoint
	reason error
}

func start(r *nameResolver) *nameResolver {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	r.close = sync.OnceFunc(func() {
		cancel()
		<-ended
		r.subscription.Close()
	})
	waiting.Store(r, nil)
	go func() {
		defer close(ended)
		defer waiting.Delete(r)
		r.run(ctx)
	}()
	return r
}

// ResolveNow implements grpcresolver.Resolver. gRPC calls it whenever it loses a
// connection or fails to make one.
func (r *nameResolver) ResolveNow(grpcresolver.ResolveNowOptions) { r.subscription.Refresh() }

// Close implements grpcresolver.Resolver. Nothing of the channel is called
// after it.
func (r *nameResolver) Close() { r.close() }

func (r *nameResolver) run(ctx context.Context) {
	for {
		view, err := r.subscription.Next(ctx)
		if err != nil {
			return
		}
		switch {
		case view.Snapshot != nil:
			waiting.Delete(r)
			r.update(view.Snapshot) // good, even if a later read failed
		case discovery.Lasting(view.Err):
			r.cc.ReportError(view.Err)
		}
		// Before the first Snapshot, requests outwait an error that may pass.
		// Should they wait in vain, Pending tells them why.
	}
}

// update tells the channel what it may use now, unless it knows already: an
// update that brings nothing new costs gRPC's own policies milliseconds.
func (r *nameResolver) update(s *discovery.Snapshot) {
	var usable []discovery.Endpoint
	var reason error
	r.locality = r.locality.Infer(s)
	if levels := topology.Select(s, r.locality); len(levels) > 0 {
		usable = subset.Rendezvous(levels[0], r.client, r.subsetSize)
	} else {
		reason = s.Unusable(r.subscription.Target())
	}
	if r.told && text(reason) == text(r.reason) &&
		slices.EqualFunc(usable, r.usable, func(a, b discovery.Endpoint) bool { return a.Equal(&b) }) {
		return
	}
	r.told, r.usable, r.reason = true, usable, reason
	err := r.cc.UpdateState(state(usable, reason))
	if err != nil && reason != nil {
		// The policy knows nothing of Unusable. pick_first and those made with
		// balancer/base put a reported error into theirs; round_robin and its
		// kin go on saying "no children to pick from".
		r.cc.ReportError(reason)
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
