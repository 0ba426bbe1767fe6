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

	degraded error // in what the slices are less than was asked for

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

// has reports whether all but the version of slice is known.
func (f *facts) has(slice *kubeapi.EndpointSlice) bool {
	known := f.slices[slice.Name]
	if known == nil {
		return false
	}
	same := *known
	same.ResourceVersion = slice.ResourceVersion
	return reflect.DeepEqual(&same, slice)
}

// slicesDiffer reports whether the slices are others than listed.
func (f *facts) slicesDiffer(listed []*kubeapi.EndpointSlice) bool {
	for _, slice := range listed {
		if !f.has(slice) {
			return true
		}
	}
	return len(listed) != len(f.slices)
}

// serviceDiffers reports whether the Service is another than listed.
func (f *facts) serviceDiffers(listed []*kubeapi.Service) bool {
	if len(listed) == 0 || f.service == nil {
		return len(listed) > 0 || f.service != nil
	}
	return listed[0].ResourceVersion != f.service.ResourceVersion
}

// kind is one of the kinds of objects that are read of a Service.
type kind int

const (
	endpointSlices kind = iota
	theService
	kinds // how many there are
)

// A feed is what reads objects of one kind, be it for one Service or for many.
type feed struct {
	alone bool   // for one; read-only
	stop  func() // ends it, without waiting; read-only
}

// A reading is how far the reading of one kind has come.
type reading struct {
	// feed alone may tell anything: one that has been replaced may still be on
	// its way to do so. Nil while the Service waits for one. It changes only
	// while the mu of services is held, too.
	feed     *feed
	listed   bool
	mirrored bool  // what is known is of the Endpoints API
	instead  error // why that is being read; nil if nobody wants slices, or has them
	degraded error // see discovery.Snapshot
	err      error // why there is no news
	failures int   // in a row
}

// state gathers facts from those that read a Service for those that publish
// them. The objects in it are never changed.
type state struct {
	name string // of the Service; read-only

	mu       sync.Mutex
	changed  chan struct{} // closed at the next change; guarded by mu, as are all below
	facts    facts
	version  int // counts the changes of facts
	readings [kinds]reading
	nodes    map[string]*kubeapi.Node // by name; of theCluster only
}

func newState(name string) *state {
	return &state{
		name:    name,
		changed: make(chan struct{}),
		facts:   facts{slices: make(map[string]*kubeapi.EndpointSlice)},
	}
}

// A view is the state at one moment, as it matters to one target.
type view struct {
	changed  <-chan struct{} // closed when it is out of date
	also     <-chan struct{} // closed too when it is; may be nil
	facts    facts
	version  int
	complete bool  // whether a Snapshot can be made
	behind   bool  // there is no news of the slices
	mirrored bool  // the slices are made of one object, and change as one
	none     error // why there are no endpoints, if they are no pods
	err      error // why there is no news of some of it
}

// failuresToGoOn is how often in a row reading the Service must have failed
// before a target that can do without is served without it.
const failuresToGoOn = 3

func (s *state) view(target discovery.Target) view {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices, service := &s.readings[endpointSlices], &s.readings[theService]
	v := view{changed: s.changed, facts: s.facts, version: s.version, mirrored: slices.mirrored, behind: slices.err != nil}
	v.facts.slices = maps.Clone(s.facts.slices)
	v.facts.serviceRead, v.facts.degraded = service.listed, slices.degraded

	// Not to be allowed to read Services is a way of life, not a fault, as long
	// as none has been read before.
	refused := forbidden(service.err) && !service.listed
	dispensable := target.Port.Name != "" && service.failures >= failuresToGoOn
	v.complete = slices.listed && (service.listed || refused || dispensable)
	switch {
	case slices.err != nil:
		v.err = explain(target, slices.what(), slices.err)
	case service.err != nil && !refused:
		v.err = explain(target, "the Service itself", service.err)
		if v.complete {
			v.err = partialError{v.err}
		}
	}
	return v
}

// what is what an explanation calls the slices.
func (r *reading) what() string {
	if r.mirrored {
		return theEndpoints
	}
	return theSlices
}

func forbidden(err error) bool { return answered(err, http.StatusForbidden) }

// answered reports whether err is the API server's answer with this HTTP status.
func answered(err error, code int) bool {
	var status *kubeapi.StatusError
	return errors.As(err, &status) && status.Code == code
}

// feedBy makes f what reads objects of one kind, and ends what did so before.
// Where that reads for this Service alone and differs from what f has just
// listed, it stays, as there is no telling which of the two is ahead.
func (s *state) feedBy(f *feed, k kind, differs func(*state) bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &s.readings[k]
	if r.feed != nil && r.feed != f {
		if r.feed.alone && !f.alone && r.listed && !r.mirrored && r.err == nil && differs(s) {
			return false
		}
		r.feed.stop()
	}
	r.feed = f
	return true
}

// A teller changes a state on behalf of a feed.
type teller struct {
	*state
	kind kind
	feed *feed

	legacy bool          // it tells what the Endpoints API does; read-only
	start  func() func() // starts reading that and returns what ends it; nil if that will not do; read-only
	stop   func()        // what start has returned; guarded by mu
}

// begin starts a change, which end ends, or returns nil if the feed has been
// replaced.
func (t *teller) begin() *reading {
	t.mu.Lock()
	if r := &t.readings[t.kind]; r.feed == t.feed {
		return r
	}
	t.mu.Unlock()
	return nil
}

// end wakes those that publish.
func (t *teller) end() {
	close(t.changed)
	t.changed = make(chan struct{})
	t.mu.Unlock()
}

// change applies a change.
func (t *teller) change(apply func(*reading)) {
	if r := t.begin(); r != nil {
		defer t.end()
		apply(r)
	}
}

// Failed is part of kubeapi.Handler, as is Healthy.
func (t *teller) Failed(err error) {
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

func (t *teller) Healthy() { t.Failed(nil) }

// A sliceHandler puts into a state what is read of the EndpointSlices.
type sliceHandler struct{ teller }

func (s *state) ofSlices(f *feed) *sliceHandler {
	return &sliceHandler{teller{state: s, kind: endpointSlices, feed: f}}
}

func (h *sliceHandler) Replace(slices []*kubeapi.EndpointSlice) {
	h.change(func(r *reading) {
		clear(h.facts.slices)
		for _, slice := range slices {
			h.facts.slices[slice.Name] = slice
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
	h.change(func(*reading) {
		if kind == kubeapi.Deleted {
			delete(h.facts.slices, slice.Name)
		} else {
			h.facts.slices[slice.Name] = slice
		}
		h.version++
	})
}

func (h *sliceHandler) has(slice *kubeapi.EndpointSlice) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.facts.has(slice)
}

// A serviceHandler puts into a state what is read of the Service.
type serviceHandler struct{ teller }

func (s *state) ofService(f *feed) *serviceHandler {
	return &serviceHandler{teller{state: s, kind: theService, feed: f}}
}

func (h *serviceHandler) Replace(services []*kubeapi.Service) {
	h.change(func(r *reading) {
		h.facts.service = nil
		for _, service := range services {
			if service.Name == h.name {
				h.facts.service = service
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
	h.change(func(*reading) {
		h.facts.service = service
		if kind == kubeapi.Deleted {
			h.facts.service = nil
		}
		h.version++
	})
}
