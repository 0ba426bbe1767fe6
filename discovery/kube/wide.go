package kube

import (
	"errors"
	"log/slog"
	"net/http"

	"github.com/sidestep-lb/sidestep/internal/kubeapi"
)

// maxWide is how many objects a wide feed may list: where a namespace has more,
// the Services that nobody asked for would cost more than those watches save.
const maxWide = 2000

// A wide is a feed for all Services of a namespace.
type wide struct {
	*namespace
	feed *feed
	kind kind

	tried  bool // it has listed or failed to; guarded by the mu of all
	listed bool // and not been given up; guarded by the mu of all
}

// Failed is part of kubeapi.Handler.
func (w *wide) Failed(err error) {
	w.all.mu.Lock()
	defer w.all.mu.Unlock()
	// Roles may allow some Services by name and not all of them.
	hopeless := forbidden(err) || answered(err, http.StatusNotFound) || errors.Is(err, kubeapi.ErrTooMany)
	w.tried = true
	if hopeless {
		w.listed = false
		w.feed.stop()
		slog.Warn("sidestep: a watch for each Service, as one for all is not possible", "namespace", w.name, "error", err)
	}
	for _, one := range w.services {
		switch one.state.readStates[w.kind].feed {
		case nil:
			w.readAlone(one, w.kind)
		case w.feed:
			if hopeless {
				w.readAlone(one, w.kind)
				continue
			}
			w.tell(one, err)
		}
	}
}

// Healthy is part of kubeapi.Handler.
func (w *wide) Healthy() {
	w.all.mu.Lock()
	defer w.all.mu.Unlock()
	for _, one := range w.services {
		w.tell(one, nil)
	}
}

func (w *wide) tell(one *service, err error) {
	t := feedWriter{state: one.state, kind: w.kind, feed: w.feed}
	t.Failed(err)
}

// takeOver makes w the feed of all Services but those that have a better one.
// Replace tells a Service what w has listed of it.
func (w *wide) takeOver(differs func(*state) bool, replace func(*state)) {
	w.tried, w.listed = true, true
	for _, one := range w.services {
		if one.state.feedBy(w.feed, w.kind, differs) {
			replace(one.state)
		}
	}
}

// wideSlices hands on to each Service its EndpointSlices.
type wideSlices struct {
	*wide
	of map[string]string // the Service of each slice that was handed on
}

func (w *wideSlices) Replace(objects []*kubeapi.EndpointSlice) {
	w.all.mu.Lock()
	defer w.all.mu.Unlock()
	w.of = make(map[string]string)
	found := make(map[string][]*kubeapi.EndpointSlice)
	for _, slice := range objects {
		if name := slice.Labels.ServiceName; w.services[name] != nil {
			w.of[slice.Name] = name
			found[name] = append(found[name], slice)
		}
	}
	w.takeOver(
		func(s *state) bool { return s.known.slicesDiffer(found[s.name]) },
		func(s *state) { s.ofSlices(w.feed).Replace(found[s.name]) },
	)
}

func (w *wideSlices) Apply(kind string, slice *kubeapi.EndpointSlice) {
	w.all.mu.Lock()
	defer w.all.mu.Unlock()
	name := slice.Labels.ServiceName
	if was := w.of[slice.Name]; was != name { // its label was changed
		w.hand(was, kubeapi.Deleted, slice)
		delete(w.of, slice.Name)
	}
	w.hand(name, kind, slice)
}

func (w *wideSlices) hand(to, kind string, slice *kubeapi.EndpointSlice) {
	one := w.services[to]
	if one == nil {
		return
	}
	w.of[slice.Name] = to
	if kind == kubeapi.Deleted {
		delete(w.of, slice.Name)
	}
	one.state.ofSlices(w.feed).Apply(kind, slice)
}

// wideServices hands on each Service to itself.
type wideServices struct{ *wide }

func (w wideServices) Replace(objects []*kubeapi.Service) {
	w.all.mu.Lock()
	defer w.all.mu.Unlock()
	found := make(map[string][]*kubeapi.Service)
	for _, service := range objects {
		found[service.Name] = append(found[service.Name], service)
	}
	w.takeOver(
		func(s *state) bool { return s.known.serviceDiffers(found[s.name]) },
		func(s *state) { s.ofService(w.feed).Replace(found[s.name]) },
	)
}

func (w wideServices) Apply(kind string, service *kubeapi.Service) {
	w.all.mu.Lock()
	defer w.all.mu.Unlock()
	if one := w.services[service.Name]; one != nil {
		one.state.ofService(w.feed).Apply(kind, service)
	}
}
