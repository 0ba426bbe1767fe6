package dns

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/sidestep-lb/sidestep/discovery"
)

// lookupTimeouts is how many times Config.Timeout a look-up may take: as long as
// three servers that are dead, and then some for the queries that follow.
const lookupTimeouts = 5

// A watcher is one run of Source.Watch. One goroutine uses it.
type watcher struct {
	lookup    lookup
	timetable *timetable
	receiver  discovery.Receiver
	warned    map[string]bool // of what

	published []discovery.Endpoint // the last time

	sole      netip.Addr // the last address that was alone and asked about
	clusterIP bool       // whether it is the cluster IP of the Service
}

// run asks and reports until ctx ends.
func (w *watcher) run(ctx context.Context) {
	for {
		w.takeRefresh() // the look-up that begins now is the answer to it
		begun := time.Now()
		wait := w.report(ctx)
		if ctx.Err() != nil || !w.sleep(ctx, wait, begun.Add(w.lookup.config.MinTTL)) {
			return
		}
	}
}

// report does one look-up and returns how long to wait until the next.
func (w *watcher) report(ctx context.Context) time.Duration {
	r, err := w.read(ctx)
	switch {
	case ctx.Err() != nil: // nobody listens any more
		return 0
	case err != nil:
		w.receiver.Error(fmt.Errorf("%s: %w", w.lookup.target, err))
		return w.timetable.failed()
	}
	deliver, wait := w.timetable.answered(time.Now(), r)
	if !deliver {
		w.receiver.Error(fmt.Errorf("%w; the last endpoints are kept for up to %v", r.reason, w.lookup.config.HoldDown))
		return wait
	}
	sole := w.lookup.soleAddress(r)
	r.virtual = r.virtual || w.clusterIP && sole == w.sole
	if r.truncated {
		r.endpoints, r.partly = w.keep(r.endpoints), cmp.Or(r.partly, errTruncated)
	}
	w.publish(r)
	if sole.IsValid() && sole != w.sole { // not before, for requests may wait for the first Snapshot
		w.sole, w.clusterIP = sole, w.lookup.isClusterIP(ctx, sole)
		if w.clusterIP {
			r.virtual = true
			w.publish(r)
		}
	}
	return wait
}

func (w *watcher) publish(r reading) {
	snapshot := discovery.NewSnapshot(r.endpoints)
	snapshot.Reason = r.reason
	switch {
	case r.virtual:
		snapshot.Degraded = errClusterIP
		w.warnOf("cluster IP", errClusterIP)
	case r.partly != nil:
		snapshot.Degraded = r.partly
		kind := "hosts"
		if r.truncated {
			kind = "truncated"
		}
		w.warnOf(kind, r.partly)
	}
	w.published = snapshot.Endpoints
	w.receiver.Update(snapshot)
}

// maxKept bounds the endpoints of answers that are truncated.
const maxKept = 16384

// keep returns the endpoints of a truncated answer and those that were published
// the last time: such an answer says of none of them that it is gone.
func (w *watcher) keep(found []discovery.Endpoint) []discovery.Endpoint {
	in := make(map[netip.AddrPort]bool, len(found))
	for i := range found {
		in[found[i].Addr] = true
	}
	for _, e := range w.published {
		if !in[e.Addr] && len(found) < maxKept && (len(in) == 0 || e.Addr.Addr().Is4() == found[0].Addr.Addr().Is4()) {
			found = append(found, e)
		}
	}
	return found
}

// warnOf warns once of each kind of trouble.
func (w *watcher) warnOf(kind string, err error) {
	if w.warned[kind] {
		return
	}
	if w.warned == nil {
		w.warned = make(map[string]bool)
	}
	w.warned[kind] = true
	slog.Warn("sidestep: discovery degraded", "target", w.lookup.target.String(), "error", err)
}

// read finds out first whom to ask. A resolv.conf that cannot be read may
// appear, as a server that does not answer may return.
func (w *watcher) read(ctx context.Context) (reading, error) {
	if err := w.lookup.client.servers.update(); err != nil {
		return reading{}, err
	}
	limit := lookupTimeouts * w.lookup.client.patience()
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("the look-up has taken %v", limit))
	defer cancel()
	return w.lookup.read(ctx)
}

// sleep waits, and no longer than until earliest once a refresh is asked for. It
// returns false when ctx ends.
func (w *watcher) sleep(ctx context.Context, wait time.Duration, earliest time.Time) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	due := time.Now().Add(wait)
	refresh := w.receiver.Refresh()
	for {
		select {
		case <-timer.C:
			return true
		case <-ctx.Done():
			return false
		case <-refresh:
			w.timetable.troubled = time.Now()
			if earliest.Before(due) {
				timer.Reset(time.Until(earliest))
			}
			refresh = nil // one is enough
		}
	}
}

func (w *watcher) takeRefresh() {
	select {
	case <-w.receiver.Refresh():
		w.timetable.troubled = time.Now()
	default:
	}
}
