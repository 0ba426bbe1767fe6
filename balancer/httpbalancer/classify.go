package httpbalancer

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sidestep-lb/sidestep/discovery"
)

const (
	// headStart is for how long the first of DNS and the source is asked alone.
	headStart = 250 * time.Millisecond
	// askTimeout bounds a question to both.
	askTimeout = 15 * time.Second
)

// An answer says whether a host is a Service.
type answer struct {
	service bool
	sure    bool // somebody could tell
	costly  bool // the source was asked, which is not to happen often
}

// ask finds out whether a host of one or two labels is a Service, by DNS and by
// the source. DNS is asked first, since the API server should not be asked about
// every host that a program talks to. The source is asked, too, when DNS has not
// answered within the headStart, or cannot tell; then either of them will do. A host
// whose target is watched anyway is for DNS alone.
func (t *Transport) ask(ctx context.Context, host hostName) answer {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	answers := make(chan answer, 2)
	asking.Go(func() {
		service, err := t.lookup(ctx, host.text)
		answers <- answer{service: service && err == nil, sure: err == nil}
	})
	timer := time.NewTimer(headStart)
	defer timer.Stop()
	late, running, bySource := timer.C, 1, !t.asksFirst(host)
	for running > 0 {
		select {
		case <-late:
		case a := <-answers:
			running--
			a.costly = a.costly || bySource && t.asksFirst(host)
			if a.sure || running == 0 && bySource {
				return a
			}
		}
		late = nil
		if !bySource {
			bySource = true
			running++
			asking.Go(func() { answers <- t.askSource(ctx, host) })
		}
	}
	return answer{}
}

// asksFirst reports whether a host that may be any host's is asked about before
// its target is watched. With the in-cluster source it is, but for names of the
// client's own namespace, which are Services more often than not.
func (t *Transport) asksFirst(host hostName) bool {
	return t.askFirst && host.target.Namespace != "" && host.target.Namespace != t.namespace()
}

// askSource watches the target of a host until the source says whether there is
// such a Service. A Service is watched further, for the request that asks.
func (t *Transport) askSource(ctx context.Context, host hostName) answer {
	sub := discovery.Watch(t.selector.Source(host.target.Scheme), host.target)
	defer sub.Close()
	for {
		view, err := sub.Next(ctx)
		switch {
		case err != nil, errors.Is(view.Err, discovery.ErrForbidden):
			return answer{costly: true}
		case view.Snapshot != nil && errors.Is(view.Snapshot.Reason, discovery.ErrServiceNotFound), errors.Is(view.Err, discovery.ErrUnavailable):
			return answer{sure: true, costly: true}
		case view.Snapshot != nil:
			_ = t.open(host.target) // or it is closed, and the request will say so
			return answer{service: true, sure: true, costly: true}
		}
	}
}

// isService reports whether the target, which the given host led to and which may
// be any host's, is a Service. It is asked once the target is watched.
func (p *pool) isService(ctx context.Context, host hostName) bool {
	now := p.latest.Load()
	if now == nil && p.transport.asksFirst(host) {
		return true // or it would not be watched
	}
	if now == nil {
		var late <-chan time.Time
		if p.transport.askFirst {
			if p.transport.names.knows(host) {
				return p.transport.names.isService(ctx, host)
			}
			timer := time.NewTimer(headStart)
			defer timer.Stop()
			late = timer.C
		}
		select {
		case <-p.heard:
			now = p.latest.Load()
		case <-late: // DNS may know sooner
		case <-p.followed:
			return true // closed: the pick will say so
		case <-ctx.Done():
			return true // the pick will say that it waited
		}
	}
	switch {
	case now == nil:
		return p.transport.names.isService(ctx, host)
	case now.Snapshot != nil:
		// A Service that is gone is still none of the base's business. To DNS, one
		// that was scaled to zero looks like that.
		return now.found
	case errors.Is(now.Err, discovery.ErrUnavailable):
		return false
	default:
		return p.transport.names.isService(ctx, host)
	}
}

// ready waits for the first Snapshot.
func (p *pool) ready(ctx context.Context) error {
	if now := p.latest.Load(); now != nil && now.Snapshot != nil {
		return nil
	}
	_, err := p.endpoints.First(ctx)
	if errors.Is(err, discovery.ErrClosed) {
		return errClosed
	}
	if err != nil {
		return err
	}
	select {
	case <-p.served: // follows the first Snapshot at once
		return nil
	case <-p.followed:
		return errClosed
	}
}
