package resolver

import (
	"context"
	"log/slog"
	"sync"

	grpcresolver "google.golang.org/grpc/resolver"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/discovery/selection"
)

// A nameResolver hands the endpoints of one target to one channel. The watch
// behind it is shared by all channels of the process, and outlives this
// resolver when the channel goes idle while others do not.
type nameResolver struct {
	// Set at the start and read-only.
	cc           grpcresolver.ClientConn
	text         string // the target as the channel knows it
	subscription *selection.Subscription
	logger       *slog.Logger // nil: the default
	close        func()       // ends run and waits for it

	// What the channel was told last; owned by run.
	told      bool
	usable    []discovery.Endpoint
	addresses []grpcresolver.Address // of usable
	reason    error
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
		case view.Changed:
			waiting.Delete(r)
			r.update(view) // good, even if a later read failed
		case view.Snapshot == nil && (discovery.IsPermanent(view.Err) || view.Overdue):
			r.cc.ReportError(view.Err)
		}
		// Before the first Snapshot, requests wait for some seconds for an error
		// to pass. If their deadline comes first, Pending tells them why.
	}
}

// update tells the channel what it may use now, unless it knows already: an
// update that brings nothing new costs gRPC's own policies milliseconds.
func (r *nameResolver) update(view selection.View) {
	var reason error
	usable := view.Endpoints
	if len(usable) == 0 {
		reason = view.Snapshot.Unusable(r.subscription.Target())
	}
	if r.told && text(reason) == text(r.reason) && discovery.EqualEndpoints(usable, r.usable) {
		return
	}
	next := state(usable, reason, r.usable, r.addresses)
	next.Attributes = next.Attributes.WithValue(reporterKey{}, reporter{r.subscription.Subscription})
	if r.logger != nil {
		next.Attributes = next.Attributes.WithValue(loggerKey{}, loggerValue{r.logger})
	}
	r.told, r.usable, r.addresses, r.reason = true, usable, next.Addresses, reason
	err := r.cc.UpdateState(next)
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
