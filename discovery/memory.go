package discovery

import (
	"fmt"
	"time"
)

// A memory keeps the last Snapshots of targets that nobody watches any more, such
// as those of a gRPC channel that is idle. When one is watched again and its
// source cannot be read, what was known is better than nothing. It is guarded by
// the registry's mu.
type memory struct {
	kept map[watchKey]remembered
}

type remembered struct {
	snapshot *Snapshot
	at       time.Time // when the watch ended
}

const (
	maxRemembered = 64             // targets
	maxMemory     = 24 * time.Hour // for which they are kept
	// memoryDelay is how long the source of a target that is watched again has for
	// its first answer before what is remembered is used.
	memoryDelay = time.Second
)

// keep takes over the last Snapshot of a watch that has ended, or what that had
// taken over itself.
func (m *memory) keep(w *watch) {
	view, _, _ := w.state()
	key, last := w.key, w.past
	if view.Snapshot != nil && view.Snapshot != last.snapshot {
		last = remembered{view.Snapshot, time.Now()}
	}
	if last.snapshot == nil || len(last.snapshot.Endpoints) == 0 {
		return
	}
	if m.kept == nil {
		m.kept = make(map[watchKey]remembered)
	}
	m.kept[key] = last
	if len(m.kept) <= maxRemembered {
		return
	}
	var oldest *watchKey // of the others
	for k, r := range m.kept {
		if k != key && (oldest == nil || r.at.Before(m.kept[*oldest].at)) {
			oldest = &k
		}
	}
	delete(m.kept, *oldest)
}

// recall hands the Snapshot of a target to a watch that begins; the zero value if
// there is none.
func (m *memory) recall(key watchKey) remembered {
	r := m.kept[key]
	delete(m.kept, key)
	if time.Since(r.at) > maxMemory {
		return remembered{}
	}
	return r
}

// remembers reports whether a Snapshot is what the watch took over, and not read.
func (w *watch) remembers(s *Snapshot) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return s == w.past.snapshot
}

// fallBackLocked makes what is remembered the view, unless there is a newer one, for
// the reason that the source has not been read.
func (w *watch) fallBackLocked(err error) {
	if w.view.Snapshot != nil || w.past.snapshot == nil {
		return
	}
	if err == nil {
		err = fmt.Errorf("no answer yet: the endpoints of %s are those of %s", w.key.target, w.past.at.Format(time.RFC3339))
	}
	w.set(View{Snapshot: w.past.snapshot, Err: err})
}
