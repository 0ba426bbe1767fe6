package kube

import (
	"errors"
	"maps"
	"net/http"
	"reflect"
	"sync"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/internal/kubeapi"
)

// facts are what is known of one Service: what the API has told and, for one
// target, the environment.
type facts struct {
	slices map[string]*kubeapi.EndpointSlice // by name, which is what tells them apart

	service     *kubeapi.Service // nil if it is absent, or not known
	serviceRead bool             // whether the Service, or that it is absent, is known

	// What the target's port number may be called, for want of the Service:
	// see envPortNames.
	envPortNames []string
}

// serviceUID returns the UID of the Service, or "" if it is not known.
func (f *facts) serviceUID() string {
	if f.service == nil {
		return ""
	}
	return f.service.UID
}

// state gathers facts from the two readers of a Service for those that publish
// them. The objects in it are never changed.
type state struct {
	name string // of the Service; read-only

	mu              sync.Mutex
	changed         chan struct{} // closed at the next change; guarded by mu, as are all below
	facts           facts
	version         int // counts the changes of facts
	slicesListed    bool
	slicesErr       error // why there is no news of the slices
	serviceErr      error // why there is no news of the Service
	serviceFailures int   // in a row
}

func newState(name string) *state {
	return &state{
		name:    name,
		changed: make(chan struct{}),
		facts:   facts{slices: make(map[string]*kubeapi.EndpointSlice)},
	}
}

// change applies a change and wakes those that publish.
func (s *state) change(apply func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	apply()
	close(s.changed)
	s.changed = make(chan struct{})
}

// A view is the state at one moment, as it matters to one target.
type view struct {
	changed  <-chan struct{} // closed when it is out of date
	facts    facts
	version  int
	complete bool  // whether a Snapshot can be made
	err      error // why there is no news of some of it
}

// failuresToGoOn is how often in a row reading the Service must have failed
// before a target that can do without is served without it.
const failuresToGoOn = 3

func (s *state) view(target discovery.Target) view {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := view{changed: s.changed, facts: s.facts, version: s.version}
	v.facts.slices = maps.Clone(s.facts.slices)

	// Not to be allowed to read Services is a way of life, not a fault, as long
	// as none has been read before.
	refused := forbidden(s.serviceErr) && !s.facts.serviceRead
	dispensable := target.Port.Name != "" && s.serviceFailures >= failuresToGoOn
	v.complete = s.slicesListed && (s.facts.serviceRead || refused || dispensable)
	switch {
	case s.slicesErr != nil:
		v.err = explain(target, "the EndpointSlices", s.slicesErr)
	case s.serviceErr != nil && !refused:
		v.err = explain(target, "the Service itself", s.serviceErr)
	}
	return v
}

func forbidden(err error) bool {
	var status *kubeapi.StatusError
	return errors.As(err, &status) && status.Code == http.StatusForbidden
}

// A sliceHandler puts into a state what is read of the EndpointSlices.
type sliceHandler struct{ *state }

func (h sliceHandler) Replace(slices []kubeapi.EndpointSlice) {
	h.change(func() {
		clear(h.facts.slices)
		for i := range slices {
			h.facts.slices[slices[i].Name] = &slices[i]
		}
		h.slicesListed, h.slicesErr = true, nil
		h.version++
	})
}

func (h sliceHandler) Apply(kind string, slice *kubeapi.EndpointSlice) {
	if kind != kubeapi.Deleted && h.has(slice) {
		return // controllers touch objects without changing them
	}
	h.change(func() {
		if kind == kubeapi.Deleted {
			delete(h.facts.slices, slice.Name)
		} else {
			h.facts.slices[slice.Name] = slice
		}
		h.version++
	})
}

// has reports whether all but the version of slice is known.
func (h sliceHandler) has(slice *kubeapi.EndpointSlice) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	known := h.facts.slices[slice.Name]
	if known == nil {
		return false
	}
	same := *known
	same.ResourceVersion = slice.ResourceVersion
	return reflect.DeepEqual(&same, slice)
}

func (h sliceHandler) Failed(err error) { h.change(func() { h.slicesErr = err }) }
func (h sliceHandler) Healthy()         { h.change(func() { h.slicesErr = nil }) }

// A serviceHandler puts into a state what is read of the Service.
type serviceHandler struct{ *state }

func (h serviceHandler) Replace(services []kubeapi.Service) {
	h.change(func() {
		h.facts.service = nil
		for i := range services {
			if services[i].Name == h.name {
				h.facts.service = &services[i]
			}
		}
		h.facts.serviceRead = true
		h.serviceErr, h.serviceFailures = nil, 0
		h.version++
	})
}

func (h serviceHandler) Apply(kind string, service *kubeapi.Service) {
	if service.Name != h.name {
		return
	}
	h.change(func() {
		h.facts.service = service
		if kind == kubeapi.Deleted {
			h.facts.service = nil
		}
		h.version++
	})
}

func (h serviceHandler) Failed(err error) {
	h.change(func() {
		h.serviceErr = err
		h.serviceFailures++
	})
}

func (h serviceHandler) Healthy() {
	h.change(func() { h.serviceErr, h.serviceFailures = nil, 0 })
}
