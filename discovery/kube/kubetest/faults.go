package kubetest

import (
	"context"
	"maps"
	"sync"
	"time"
)

// Stall makes the server hang: connections and watches stay open, but nothing
// more is sent on them, and new requests get no answer, until [Server.Resume].
func (s *Server) Stall() {
	s.faults.change(func(f *faultState) {
		if f.stalled == nil {
			f.stalled = make(chan struct{})
		}
	})
}

// Resume ends a [Server.Stall]; what was held back is sent.
func (s *Server) Resume() {
	s.faults.change(func(f *faultState) {
		if f.stalled != nil {
			close(f.stalled)
			f.stalled = nil
		}
	})
}

// SetDelay makes the server wait before it answers a request. Running watches
// are not delayed. 0, the default, ends it.
func (s *Server) SetDelay(d time.Duration) {
	s.faults.change(func(f *faultState) { f.delay = d })
}

// SlowStream makes everything the server sends, in watches too, trickle: so
// many bytes, then a pause. 0 bytes, the default, ends it.
func (s *Server) SlowStream(bytes int, pause time.Duration) {
	s.faults.change(func(f *faultState) { f.chunk, f.pause = bytes, pause })
}

// Fail answers the next requests, so many times, with an HTTP status and a
// Status object, whatever they ask for; a negative number goes on until it is
// called with 0 times. If retryAfter is not 0, it is sent as Retry-After,
// rounded up to seconds. Running watches go on.
func (s *Server) Fail(status, times int, retryAfter time.Duration) {
	s.faults.change(func(f *faultState) {
		f.failCode, f.failTimes, f.retryAfter = status, times, retryAfter
	})
}

// RequireToken answers 401 to requests without "Authorization: Bearer token".
// An empty token, the default, lets all pass. Running watches go on, as in a
// real server.
func (s *Server) RequireToken(token string) {
	s.faults.change(func(f *faultState) { f.token = token })
}

// Forbid answers 403 to requests with this verb for this resource, either of
// which may be [Any], as RBAC does where no Role allows it. Running watches go
// on, as in a real server.
func (s *Server) Forbid(verb, resource string) {
	s.faults.change(func(f *faultState) { f.forbidden[rule{verb, resource}] = true })
}

// Allow takes back what [Server.Forbid] forbids of this verb and this resource,
// either of which may be [Any].
func (s *Server) Allow(verb, resource string) {
	s.faults.change(func(f *faultState) {
		maps.DeleteFunc(f.forbidden, func(r rule, _ bool) bool {
			return (verb == Any || verb == r.verb) && (resource == Any || resource == r.resource)
		})
	})
}

// Compact forgets the history: a watch that resumes from before now is refused as
// by a real server's watch cache, with status 200 and one ERROR event of code 410.
// Running watches go on.
func (s *Server) Compact() {
	s.faults.change(func(f *faultState) { f.expireByStatus = false })
	s.store.compact()
}

// CompactInStream is [Server.Compact], which refused with an HTTP status once.
func (s *Server) CompactInStream() { s.Compact() }

// CompactWithStatus is [Server.Compact] with the refusal in its other form, which
// clients have to understand, too: HTTP status 410 Gone.
func (s *Server) CompactWithStatus() {
	s.faults.change(func(f *faultState) { f.expireByStatus = true })
	s.store.compact()
}

// SetStreamingLists says whether watches may ask for sendInitialEvents. If not,
// they are refused with 422 Invalid, as by servers before Kubernetes 1.34. The
// default is that they may.
func (s *Server) SetStreamingLists(on bool) {
	s.faults.change(func(f *faultState) { f.noStreamingLists = !on })
}

// SetBookmarkInterval sets how often a watch that allows bookmarks gets one. The
// default is a minute, as in a real server. There is none before an object of the
// resource, which the watch need not select, has changed since it began. Running watches keep theirs. It
// panics if d is not positive.
func (s *Server) SetBookmarkInterval(d time.Duration) {
	if d <= 0 {
		panic("kubetest: a bookmark interval must be positive")
	}
	s.faults.change(func(f *faultState) { f.bookmarkEvery = d })
}

// faults is what is wrong with the server at the moment, and how it is set up.
type faults struct {
	mu    sync.Mutex
	state faultState // guarded by mu
}

type faultState struct {
	stalled chan struct{} // nil: not stalled; closed at the end of the stall

	delay time.Duration
	chunk int // 0: no limit
	pause time.Duration

	failCode, failTimes int
	retryAfter          time.Duration

	token     string
	forbidden map[rule]bool

	expireByStatus   bool
	noStreamingLists bool
	bookmarkEvery    time.Duration
}

type rule struct{ verb, resource string }

func newFaults() *faults {
	return &faults{state: faultState{forbidden: make(map[rule]bool), bookmarkEvery: time.Minute}}
}

func (f *faults) change(apply func(*faultState)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	apply(&f.state)
}

// now is the state at this moment. Its map must not be read.
func (f *faults) now() faultState {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state
}

// pass waits for a stall to end. It reports whether ctx has not.
func (f *faults) pass(ctx context.Context) bool {
	for {
		stalled := f.now().stalled
		if stalled == nil {
			return ctx.Err() == nil
		}
		select {
		case <-stalled:
		case <-ctx.Done():
			return false
		}
	}
}

// hold waits as long as a new request has to.
func (f *faults) hold(ctx context.Context) bool {
	return sleep(ctx, f.now().delay) && f.pass(ctx)
}

// pace says how many of n bytes to send before which pause.
func (f *faults) pace(n int) (int, time.Duration) {
	state := f.now()
	if state.chunk <= 0 {
		return n, 0
	}
	return min(n, state.chunk), state.pause
}

func (f *faults) failure() *status {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.state.failTimes == 0 {
		return nil
	}
	if f.state.failTimes > 0 {
		f.state.failTimes--
	}
	return failure(f.state.failCode, f.state.retryAfter)
}

func (f *faults) authenticates(authorization string) bool {
	token := f.now().token
	return token == "" || authorization == "Bearer "+token
}

func (f *faults) forbids(verb, resource string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range []rule{{verb, resource}, {Any, resource}, {verb, Any}, {Any, Any}} {
		if f.state.forbidden[r] {
			return true
		}
	}
	return false
}

func (f *faults) expiresByStatus() bool           { return f.now().expireByStatus }
func (f *faults) streamingLists() bool            { return !f.now().noStreamingLists }
func (f *faults) bookmarkInterval() time.Duration { return f.now().bookmarkEvery }
