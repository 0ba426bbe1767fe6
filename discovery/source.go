package discovery

import "context"

// A Source turns a Target into a stream of Snapshots. Sources are compared to
// find out whether two users can share one watch, so a Source is best a pointer.
type Source interface {
	// Watch reports on target until ctx ends, and returns only after its last
	// call of r. It tries forever: whatever goes wrong is reported and tried
	// again, with backoff. Where nothing can change any more it may return
	// early.
	Watch(ctx context.Context, target Target, r Receiver)
}

// A Receiver takes what a Source finds out. A Source calls it from one
// goroutine at a time.
type Receiver interface {
	// Update delivers the result of a successful read, changed or not.
	Update(s *Snapshot)
	// Error reports that a read failed. The last Snapshot stays good.
	Error(err error)
	// Refresh receives a value when a user of the target suspects that the last
	// Snapshot is out of date, for example because a connection failed. A Source
	// that is pushed its changes has no use for it.
	Refresh() <-chan struct{}
}

// A canonicalizer is a Source for which several targets mean the same, as
// quiz, quiz.kiada and quiz.kiada.svc do to a pod of namespace kiada. Users of
// any of them share one watch.
type canonicalizer interface {
	Canonical(t Target) Target
}

func canonical(source Source, t Target) Target {
	if c, ok := source.(canonicalizer); ok {
		return c.Canonical(t)
	}
	return t
}

// A View is the state of a watch.
type View struct {
	// Snapshot is the result of the last successful read, nil before the first.
	Snapshot *Snapshot
	// Err is why the latest read failed. It is nil after a successful one, so
	// a View with both a Snapshot and an Err is stale.
	Err error
	// Overdue says that there is an Err and no Snapshot, and that a first Snapshot
	// has been waited for long enough (5 s, see [Subscription.First]): a request
	// without a deadline of its own should fail with Err now.
	Overdue bool
}

// Stale reports whether the Snapshot is out of date for all that is known.
func (v View) Stale() bool { return v.Snapshot != nil && v.Err != nil }

// Resolve asks source once for target and returns its first Snapshot. It waits
// until ctx ends, then says why there was none; a permanent error, such as
// ErrForbidden, ends the wait at once.
func Resolve(ctx context.Context, source Source, target Target) (*Snapshot, error) {
	sub := Watch(source, target)
	defer sub.Close()
	snapshot, err := sub.First(ctx)
	if err == nil && sub.watch.remembers(snapshot) {
		view, _, _ := sub.watch.state()
		return nil, view.Err // what was known before is no answer to what there is now
	}
	return snapshot, err
}
