package discovery

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"
)

// When a Fallback asks its secondary; see there.
const (
	// headStart is for how long the primary alone is asked. It is longer than
	// an API server takes to list a Service, and short for who waits.
	headStart = time.Second
	// A primary that has answered before refuses time after time when it has done
	// so minRefusals times, over refusedFor.
	minRefusals = 3
	refusedFor  = 5 * time.Second
	// unreachableFor is for how long a user's word counts that no endpoint can be
	// reached: longer than it takes to find out that a connection to the primary is
	// dead, which may come after the word.
	unreachableFor = time.Minute
	// failedFor is for how long a primary must have been failing for trouble with
	// single endpoints to count, and troubledFor for how long there must have been
	// such trouble.
	failedFor   = time.Minute
	troubledFor = 30 * time.Second
	// rememberFor is for how long it is known that a primary was silent when
	// nobody asks it any more.
	rememberFor = time.Minute
)

// errLate is why the secondary is asked before the primary has said anything.
var errLate = fmt.Errorf("the source has not answered within %v", headStart)

// hints are what users of a target report, on their way to one Source.
type hints struct{ refresh, unreachable chan struct{} }

func newHints() hints { return hints{make(chan struct{}, 1), make(chan struct{}, 1)} }

func offer(to chan struct{}) {
	select {
	case to <- struct{}{}:
	default: // one is waiting already
	}
}

// listen hands on what users report, and asks the secondary when it is time to,
// until ctx ends.
func (r *fallbackRun) listen(ctx context.Context) {
	start := headStart
	if r.reach.isSilent() {
		start = 0
	}
	late := time.NewTimer(start)
	defer late.Stop()
	var unreachable <-chan struct{}
	if of, ok := r.receiver.(interface{ Unreachable() <-chan struct{} }); ok {
		unreachable = of.Unreachable()
	}
	for {
		select {
		case <-late.C:
			r.late()
		case <-r.receiver.Refresh():
			r.reported(func(h hints) chan struct{} { return h.refresh }, (*failure).trouble)
		case <-unreachable:
			r.reported(func(h hints) chan struct{} { return h.unreachable }, (*failure).unreachable)
		case <-ctx.Done():
			return
		}
	}
}

// late is called when the primary has had its head start.
func (r *fallbackRun) late() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.heard || r.target.Via != "" {
		return
	}
	r.reach.silent()
	r.askLocked(r.target, nil, fmt.Errorf("%s: %w", r.target, errLate))
}

func (r *fallbackRun) reported(which func(hints) chan struct{}, note func(*failure, time.Time)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	offer(which(r.hints))
	if r.standIn != nil {
		offer(which(r.standIn.hints))
	}
	note(&r.failure, time.Now())
	r.considerLocked()
}

// A failure is what is known of a primary that has answered and fails now, and of
// the endpoints that it told last.
type failure struct {
	err      error     // the latest; nil while it does not fail
	since    time.Time // of the first error
	refusals int       // the latest errors in a row that were refusals
	refused  time.Time // the first of these

	unreachableAt             time.Time // a user could reach none of the endpoints
	firstTrouble, lastTrouble time.Time // with single endpoints, since it fails
}

// partial is an error that leaves the endpoints as current as they were, though
// something else cannot be read.
type partial interface{ Partial() bool }

func (f *failure) add(err error) {
	if p := partial(nil); errors.As(err, &p) && p.Partial() {
		return
	}
	now := time.Now()
	if f.err == nil {
		f.since = now
	}
	f.err = err
	if !errors.Is(err, ErrForbidden) && !errors.Is(err, ErrUnauthenticated) {
		f.refusals = 0
		return
	}
	if f.refusals == 0 {
		f.refused = now
	}
	f.refusals++
}

func (f *failure) unreachable(now time.Time) { f.unreachableAt = now }

func (f *failure) trouble(now time.Time) {
	if f.err == nil {
		return
	}
	if f.firstTrouble.IsZero() {
		f.firstTrouble = now
	}
	f.lastTrouble = now
}

// isReason reports whether the failure is one to ask the secondary, where the last
// Snapshot is this.
func (f *failure) isReason(last *Snapshot) bool {
	if f.err == nil {
		return false
	}
	now := time.Now()
	return last.Ready() == 0 ||
		!f.unreachableAt.IsZero() && now.Sub(f.unreachableAt) <= unreachableFor ||
		f.refusals >= minRefusals && now.Sub(f.refused) >= refusedFor ||
		now.Sub(f.since) >= failedFor && f.lastTrouble.Sub(f.firstTrouble) >= troubledFor
}

// A reach is what is known of one primary for all targets of the process.
type reach struct {
	source Source // read-only; nil if it cannot be compared with others

	users  int       // guarded by the mu of reaches, as are all below
	quiet  bool      // it was silent, and has not answered since
	unused time.Time // since when there are no users
}

// reaches holds what is known of the primaries that are asked, or were a moment
// ago.
var reaches struct {
	mu       sync.Mutex
	bySource map[Source]*reach // guarded by mu
}

// reachOf returns what is known of source. The caller has to leave it.
func reachOf(source Source) *reach {
	if !reflect.TypeOf(source).Comparable() {
		return &reach{users: 1}
	}
	all := &reaches
	all.mu.Lock()
	defer all.mu.Unlock()
	if all.bySource == nil {
		all.bySource = make(map[Source]*reach)
	}
	for s, r := range all.bySource {
		if r.users == 0 && time.Since(r.unused) > rememberFor {
			delete(all.bySource, s)
		}
	}
	r := all.bySource[source]
	if r == nil {
		r = &reach{source: source}
		all.bySource[source] = r
	}
	r.users++
	return r
}

func (r *reach) leave() {
	reaches.mu.Lock()
	defer reaches.mu.Unlock()
	if r.users--; r.users > 0 {
		return
	}
	if r.quiet {
		r.unused = time.Now()
	} else if r.source != nil {
		delete(reaches.bySource, r.source)
	}
}

func (r *reach) set(quiet bool) {
	reaches.mu.Lock()
	defer reaches.mu.Unlock()
	r.quiet = quiet
}

func (r *reach) silent()   { r.set(true) }
func (r *reach) answered() { r.set(false) }

func (r *reach) isSilent() bool {
	reaches.mu.Lock()
	defer reaches.mu.Unlock()
	return r.quiet
}
