package kube

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/internal/kubeapi"
)

// A deal bridges the moment in which a change of a Service's ports deals its pods
// out anew. The EndpointSlice controller finds no slice with the new ports, so it
// makes new ones, fills them from a map, and writes them under the names of the old
// ones, one after the other (reconcileByPortMapping in k8s.io/endpointslice). In
// between, the first slice holds other pods than before and the second its old
// ones: some pods are in none. Those stay until no slice has ports that another one
// has lost, for moveTime at most.
type deal struct {
	ports map[string]dealt     // of each slice with endpoints, by name
	lost  map[string]bool      // the ports that slices had before; nil when nothing is kept
	last  []discovery.Endpoint // that were published
	over  <-chan time.Time     // ends the keeping; nil when nothing is kept
}

// dealt is a slice and its ports, as portsOf has them.
type dealt struct {
	slice *kubeapi.EndpointSlice
	ports string
}

// errDealt is why a Snapshot has endpoints that are in no slice.
var errDealt = errors.New("pods in no EndpointSlice are kept while the Service's ports are being changed")

// bridge returns what to publish in place of the Snapshot s, made of these slices.
func (d *deal) bridge(s *discovery.Snapshot, of map[string]*kubeapi.EndpointSlice) *discovery.Snapshot {
	before := d.ports
	d.ports = make(map[string]dealt, len(of))
	for name, slice := range of {
		if len(slice.Endpoints) == 0 {
			continue
		}
		was, known := before[name]
		if known && was.slice == slice { // nearly all of them, and objects do not change
			d.ports[name] = was
			continue
		}
		now := dealt{slice, portsOf(slice)}
		d.ports[name] = now
		if known && was.ports != now.ports {
			if d.lost == nil {
				d.lost, d.over = make(map[string]bool), time.After(moveTime)
			}
			d.lost[was.ports] = true
		}
	}
	if d.lost != nil && !d.unfinished() {
		d.expire()
	}
	if d.lost != nil && s.Reason == nil {
		s = d.keep(s, of)
	}
	d.last = s.Endpoints
	return s
}

// unfinished reports whether a slice has ports that another one has lost.
func (d *deal) unfinished() bool {
	for _, now := range d.ports {
		if d.lost[now.ports] {
			return true
		}
	}
	return false
}

// keep adds to s the endpoints published last whose pods are in none of the slices.
func (d *deal) keep(s *discovery.Snapshot, of map[string]*kubeapi.EndpointSlice) *discovery.Snapshot {
	listed := make(map[string]bool)
	for _, slice := range of {
		for i := range slice.Endpoints {
			e := &slice.Endpoints[i]
			if e.TargetRef != nil && e.TargetRef.UID != "" {
				listed[e.TargetRef.UID] = true
			}
			if len(e.Addresses) > 0 {
				if addr, err := parseIP(e.Addresses[0]); err == nil {
					listed[addr.Unmap().String()] = true
				}
			}
		}
	}
	var kept []discovery.Endpoint
	for _, e := range d.last {
		if !listed[e.UID] && !listed[e.Addr.Addr().String()] {
			kept = append(kept, e)
		}
	}
	if len(kept) == 0 {
		return s
	}
	all := *s
	all.Endpoints = discovery.NewSnapshot(slices.Concat(s.Endpoints, kept)).Endpoints
	all.Degraded = errDealt
	if s.Degraded != nil {
		all.Degraded = fmt.Errorf("%w; %w", s.Degraded, errDealt)
	}
	return &all
}

// expire ends the keeping of pods.
func (d *deal) expire() { d.lost, d.over = nil, nil }

// portsOf returns the ports of a slice as text, whatever their order, which is by a
// hash and says nothing.
func portsOf(slice *kubeapi.EndpointSlice) string {
	var texts []string
	for _, p := range tcpPorts(slice) {
		texts = append(texts, p.String())
	}
	slices.Sort(texts)
	return strings.Join(texts, ",")
}
