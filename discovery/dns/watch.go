package dns

import (
	"context"
	"fmt"
	"time"

	"github.com/sidestep-lb/sidestep/discovery"
)

// A watcher is one run of Source.Watch. One goroutine uses it.
type watcher struct {
	lookup    lookup
	timetable *timetable
	receiver  discovery.Receiver
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
		w.receiver.Update(snapshot)
	}
	return wait
}

// read finds out first whom to ask. A resolv.conf that cannot be read may
// appear, as a server that does not answer may return.
func (w *watcher) read(ctx context.Context) (reading, error) {
	servers := &w.lookup.client.servers
	if len(*servers) == 0 {
		*servers = w.lookup.config.Servers
	}
	if len(*servers) == 0 {
		conf, err := readResolvConf(w.lookup.config.ResolvConf)
		if err != nil {
			return reading{}, err
		}
		*servers = conf.servers
	}
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
