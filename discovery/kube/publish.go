package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/sidestep-lb/sidestep/discovery"
)

// settle is how long changes are gathered before they are published: a rollout
// or a move of endpoints between slices comes as several events.
const settle = time.Millisecond

// A publisher turns what the readers of one watch find into calls of a
// receiver. It belongs to one goroutine.
type publisher struct {
	// Set at the start and read-only.
	target       discovery.Target
	envPortNames []string // see serviceState
	state        *state
	outside      *outside // nil unless the target has a Via
	receiver     discovery.Receiver

	memo memo

	published int    // the version of the last Snapshot
	failing   bool   // the last call was of receiver.Error
	warned    string // the last warning about refused addresses
	move      portMove
	affinity  affinityNotice
	deal      deal
}

// run publishes until ctx ends.
func (p *publisher) run(ctx context.Context) {
	for {
		changed, also := p.publish()
		select {
		case <-changed:
			if !pause(ctx) {
				return
			}
		case <-also:
			if !pause(ctx) {
				return
			}
		case <-p.move.over:
			p.move.expire()
			p.published = 0 // the same state means something else now
		case <-p.deal.over:
			p.deal.expire()
			p.published = 0
		case <-ctx.Done():
			return
		}
	}
}

// pause waits until changes have settled, and reports whether ctx goes on.
func pause(ctx context.Context) bool {
	select {
	case <-time.After(settle):
		return true
	case <-ctx.Done():
		return false
	}
}

// publish returns what tells that there is more to publish.
func (p *publisher) publish() (changed, also <-chan struct{}) {
	var view view
	if p.outside != nil {
		view = p.outside.view()
	} else {
		view = p.state.view(p.target)
		view.known.envPortNames = p.envPortNames
	}
	// News of the Service alone waits: with slices that are out of date it would
	// be told as if all were well.
	news := view.version != p.published && (!view.behind || p.published == 0)
	if view.complete && (news || p.failing && view.err == nil) {
		snapshot, refused := merge(p.target, view.known, &p.memo)
		if refused != nil && refused.Error() != p.warned {
			p.warned = refused.Error()
			slog.Warn("sidestep: endpoints refused", "target", p.target.String(), "error", refused)
		}
		if p.outside != nil {
			snapshot.LocalOnly = false // a policy for those inside
		}
		if snapshot.Reason == nil {
			snapshot.Reason = view.none
		}
		p.affinity.see(p.target, snapshot)
		if p.outside == nil && !view.mirrored {
			snapshot = p.deal.bridge(snapshot, view.known.slices)
		}
		p.receiver.Update(p.move.bridge(p.target, snapshot, view.known.serviceUID()))
		p.published, p.failing = view.version, false
	}
	if view.err != nil {
		p.receiver.Error(view.err)
		p.failing = true
	}
	return view.changed, view.also
}

// moveTime is how long the endpoints of a target that is no longer found are
// kept.
const moveTime = 5 * time.Second

// A portMove bridges the moment in which a target has no endpoints because its
// Service is being changed: a port is renamed, or its targetPort changed, or the
// Service is deleted and made anew. The Service and its slices are updated one
// after the other, and in between nothing fits. kube-proxy rejects connections
// in that moment; here the last endpoints are kept for as long as it may
// reasonably take.
//
// That a Service has no pods counts at once, unless it is another than before.
type portMove struct {
	last *discovery.Snapshot // what the target had, nil if nothing
	uid  string              // of the Service that had it
	over <-chan time.Time    // ends the keeping of last; nil when it is not being kept
}

// passing reports whether a Service that is being changed may be the reason for
// there being no endpoints.
func passing(reason error) bool {
	return errors.Is(reason, discovery.ErrPortNotFound) || errors.Is(reason, discovery.ErrServiceNotFound) || errors.Is(reason, errEarlierSlices)
}

// bridge returns what to publish in place of the Snapshot s.
func (m *portMove) bridge(target discovery.Target, s *discovery.Snapshot, uid string) *discovery.Snapshot {
	madeAnew := len(s.Endpoints) == 0 && s.Reason == nil && uid != m.uid
	if !passing(s.Reason) && !madeAnew {
		*m = portMove{}
		if len(s.Endpoints) > 0 {
			m.last, m.uid = s, uid
		}
		return s
	}
	if m.last == nil {
		return s
	}
	if m.over == nil {
		m.over = time.After(moveTime)
	}
	kept := *m.last
	kept.Degraded = fmt.Errorf("what was found last, kept for %v in case the Service is being changed: %w", moveTime, s.Unusable(target))
	return &kept
}

// expire gives up on the endpoints kept.
func (m *portMove) expire() { *m = portMove{} }
