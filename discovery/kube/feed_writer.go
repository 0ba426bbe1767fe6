package kube

import (
	"net/http"

	"github.com/sidestep-lb/sidestep/internal/kubeapi"
)

// A feedWriter changes a state on behalf of a feed.
type feedWriter struct {
	*state
	kind kind
	feed *feed

	legacy bool          // it tells what the Endpoints API does; read-only
	start  func() func() // starts reading that and returns what ends it; nil if that will not do; read-only
	stop   func()        // what start has returned; guarded by mu
}

// begin starts a change, which end ends, or returns nil if the feed has been
// replaced.
func (t *feedWriter) begin() *readState {
	t.mu.Lock()
	if r := &t.readStates[t.kind]; r.feed == t.feed {
		return r
	}
	t.mu.Unlock()
	return nil
}

// end wakes those that publish.
func (t *feedWriter) end() {
	close(t.changed)
	t.changed = make(chan struct{})
	t.mu.Unlock()
}

// change applies a change.
func (t *feedWriter) change(apply func(*readState)) {
	if r := t.begin(); r != nil {
		defer t.end()
		apply(r)
	}
}

// Failed is part of kubeapi.Handler, as is Healthy.
func (t *feedWriter) Failed(err error) {
	r := t.begin()
	if r == nil {
		return
	}
	defer t.end()
	switch {
	case err == nil:
		r.failures = -1
	case r.instead != nil && !t.legacy:
		return // it goes on trying
	case t.legacy && !r.mirrored:
		err = r.instead // it was but a try
	case t.start != nil && !r.listed && (forbidden(err) || answered(err, http.StatusNotFound)):
		r.instead = err
		t.stop = t.start()
		return
	}
	r.err = err
	r.failures++
}

func (t *feedWriter) Healthy() { t.Failed(nil) }

// A sliceHandler puts into a state what is read of the EndpointSlices.
type sliceHandler struct{ feedWriter }

func (s *state) ofSlices(f *feed) *sliceHandler {
	return &sliceHandler{feedWriter{state: s, kind: endpointSlices, feed: f}}
}

func (h *sliceHandler) Replace(slices []*kubeapi.EndpointSlice) {
	h.change(func(r *readState) {
		clear(h.known.slices)
		for _, slice := range slices {
			h.known.slices[slice.Name] = slice
		}
		r.listed, r.err, r.failures = true, nil, 0
		r.mirrored, r.instead, r.degraded = false, nil, nil
		if h.stop != nil {
			h.stop()
		}
		h.version++
	})
}

func (h *sliceHandler) Apply(kind string, slice *kubeapi.EndpointSlice) {
	if kind != kubeapi.Deleted && h.has(slice) {
		return // controllers touch objects without changing them
	}
	h.change(func(*readState) {
		if kind == kubeapi.Deleted {
			delete(h.known.slices, slice.Name)
		} else {
			h.known.slices[slice.Name] = slice
		}
		h.version++
	})
}

func (h *sliceHandler) has(slice *kubeapi.EndpointSlice) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.known.has(slice)
}

// A serviceHandler puts into a state what is read of the Service.
type serviceHandler struct{ feedWriter }

func (s *state) ofService(f *feed) *serviceHandler {
	return &serviceHandler{feedWriter{state: s, kind: theService, feed: f}}
}

func (h *serviceHandler) Replace(services []*kubeapi.Service) {
	h.change(func(r *readState) {
		h.known.service = nil
		for _, service := range services {
			if service.Name == h.name {
				h.known.service = service
			}
		}
		r.listed, r.err, r.failures = true, nil, 0
		h.version++
	})
}

func (h *serviceHandler) Apply(kind string, service *kubeapi.Service) {
	if service.Name != h.name {
		return
	}
	h.change(func(*readState) {
		h.known.service = service
		if kind == kubeapi.Deleted {
			h.known.service = nil
		}
		h.version++
	})
}
