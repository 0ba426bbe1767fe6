package kube

import (
	"errors"
	"maps"
	"net/http"
	"sync"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/internal/kubeapi"
)

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

// A readState is how far the reading of one kind has come.
type readState struct {
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

// state gathers a serviceState from those that read a Service for those that publish
// them. The objects in it are never changed.
type state struct {
	name string // of the Service; read-only

	mu         sync.Mutex
	changed    chan struct{} // closed at the next change; guarded by mu, as are all below
	known      serviceState
	version    int // counts the changes of serviceState
	readStates [kinds]readState
	nodes      map[string]*kubeapi.Node // by name; of theCluster only
}

func newState(name string) *state {
	return &state{
		name:    name,
		changed: make(chan struct{}),
		known:   serviceState{slices: make(map[string]*kubeapi.EndpointSlice)},
	}
}

// A view is the state at one moment, as it matters to one target.
type view struct {
	changed  <-chan struct{} // closed when it is out of date
	also     <-chan struct{} // closed too when it is; may be nil
	known    serviceState
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
	slices, service := &s.readStates[endpointSlices], &s.readStates[theService]
	v := view{changed: s.changed, known: s.known, version: s.version, mirrored: slices.mirrored, behind: slices.err != nil}
	v.known.slices = maps.Clone(s.known.slices)
	v.known.serviceRead, v.known.degraded = service.listed, slices.degraded

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
func (r *readState) what() string {
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
	r := &s.readStates[k]
	if r.feed != nil && r.feed != f {
		if r.feed.alone && !f.alone && r.listed && !r.mirrored && r.err == nil && differs(s) {
			return false
		}
		r.feed.stop()
	}
	r.feed = f
	return true
}
