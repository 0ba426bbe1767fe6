package dns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
	warned    bool
}

// run asks and reports until ctx ends.
func (w *watcher) run(ctx context.Context) {
	for {
		w.forgetRefresh() // the look-up that begins now is the answer to it
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
	if deliver {
		snapshot := discovery.NewSnapshot(r.endpoints)
		snapshot.Reason = r.reason
		if r.virtual {
			snapshot.Degraded = errClusterIP
			w.warnOf(errClusterIP)
		}
		w.receiver.Update(snapshot)
	}
	return wait
}

// errClusterIP is why a Snapshot with a cluster IP is less than was asked for.
var errClusterIP = errors.New("the address is a cluster IP, which balances connections, not requests: " +
	"make the Service headless (clusterIP: None), or let k8s:/// read its endpoints from the Kubernetes API")

// warnOf warns once.
func (w *watcher) warnOf(err error) {
	if !w.warned {
		slog.Warn("sidestep: discovery degraded", "target", w.lookup.target.String(), "error", err)
	}
	w.warned = true
}

// read finds out first whom to ask. A resolv.conf that cannot be read may
// appear, as a server that does not answer may return.
func (w *watcher) read(ctx context.Context) (reading, error) {
	if err := w.lookup.client.servers.update(); err != nil {
		return reading{}, err
	}
	limit := lookupTimeouts * w.lookup.config.Timeout
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
			if earliest.Before(due) {
				timer.Reset(time.Until(earliest))
			}
			refresh = nil // one is enough
		}
	}
}

func (w *watcher) forgetRefresh() {
	select {
	case <-w.receiver.Refresh():
	default:
	}
}
