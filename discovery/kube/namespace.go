package kube

import (
	"context"
	"sync"

	"github.com/sidestep-lb/sidestep/internal/kubeapi"
)

// maxAlone is how many Services of a namespace are read each for itself. One
// more, and there is a wide feed, which reads all of the namespace.
const maxAlone = 20

// A namespace is one of which Services are being read.
//
// A Service that joins gets feeds of its own, one for each kind, unless there are
// maxAlone already or a wide feed is about to list. Once that has its list it
// takes the place of the others, and stays until the last Service leaves. As it
// keeps nothing of Services that nobody reads, those that join later have feeds of
// their own again, until they are too many and the next wide feed takes all.
type namespace struct {
	// Set at the start and read-only.
	all    *services
	client *kubeapi.Client
	timing kubeapi.Timing
	name   string
	ctx    context.Context // ends when there are no services
	cancel context.CancelFunc

	feeds sync.WaitGroup // the wide ones

	services map[string]*service // by name; guarded by the mu of all, as are all below
	wide     [kinds]*wide        // the latest, or nil
}

func newNamespace(all *services, client *kubeapi.Client, timing kubeapi.Timing, name string) *namespace {
	ns := &namespace{all: all, client: client, timing: timing, name: name, services: make(map[string]*service)}
	ns.ctx, ns.cancel = context.WithCancel(context.Background())
	return ns
}

// read sees to it that objects of one kind are read of a Service. It is called
// with the mu of all held, as are the other methods.
func (ns *namespace) read(one *service, k kind) {
	w := ns.wide[k]
	if (w == nil || w.listed) && ns.alone(k) >= maxAlone && (k == theService || ns.all.api != Endpoints) {
		w = ns.widen(k)
	}
	if w == nil || w.tried {
		ns.readAlone(one, k)
	}
}

// alone counts the Services that have a feed of their own.
func (ns *namespace) alone(k kind) int {
	n := 0
	for _, one := range ns.services {
		if f := one.state.readStates[k].feed; f != nil && f.alone {
			n++
		}
	}
	return n
}

func (ns *namespace) readAlone(one *service, k kind) {
	ctx, stop := context.WithCancel(one.ctx)
	f := &feed{alone: true, stop: stop}
	one.state.feedBy(f, k, nil)
	slices := one.state.ofSlices(f)
	var h any = slices
	switch {
	case ns.name == "":
		h = one.state.ofNodes(f)
	case k == theService:
		h = one.state.ofService(f)
	case ns.all.api == Endpoints:
		h = one.state.ofEndpoints(f)
	case ns.all.api == "":
		slices.start = func() func() {
			ctx, stop := context.WithCancel(ctx)
			one.feeds.Go(func() { ns.listWatch(ctx, one.state.name, one.state.ofEndpoints(f)) })
			return stop
		}
	}
	one.feeds.Go(func() {
		defer stop()
		ns.listWatch(ctx, one.state.name, h)
	})
}

func (ns *namespace) widen(k kind) *wide {
	ctx, stop := context.WithCancel(ns.ctx)
	w := &wide{namespace: ns, feed: &feed{stop: stop}, kind: k}
	ns.wide[k] = w
	var h any = &wideSlices{wide: w}
	if k == theService {
		h = wideServices{w}
	}
	ns.feeds.Go(func() {
		defer stop()
		ns.listWatch(ctx, "", h)
	})
	return w
}

// listWatch reads the objects that h takes until ctx ends: those of one Service,
// or all if none is named.
func (ns *namespace) listWatch(ctx context.Context, service string, h any) {
	lw := &kubeapi.ListWatch[*kubeapi.EndpointSlice]{Client: ns.client, Timing: ns.timing}
	if service == "" {
		lw.Fresh, lw.MaxObjects = true, maxWide
	}
	switch h := h.(type) {
	case *endpointsHandler:
		lw.Path = kubeapi.EndpointsPath(ns.name)
		lw.FieldSelector = "metadata.name=" + service
		lw.Run(ctx, h)
	case kubeapi.Handler[*kubeapi.EndpointSlice]:
		lw.Path = kubeapi.EndpointSlicesPath(ns.name)
		if service != "" {
			lw.LabelSelector = kubeapi.LabelServiceName + "=" + service
		}
		lw.Run(ctx, h)
	case kubeapi.Handler[*kubeapi.Service]:
		lw.Path = kubeapi.ServicesPath(ns.name)
		if service != "" {
			lw.FieldSelector = "metadata.name=" + service
		}
		(*kubeapi.ListWatch[*kubeapi.Service])(lw).Run(ctx, h)
	case *nodeHandler:
		lw.Path = kubeapi.NodesPath
		(*kubeapi.ListWatch[*kubeapi.Node])(lw).Run(ctx, h)
	}
}
