package grpcbalancer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	gbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"

	"github.com/sidestep-lb/sidestep/balancer"
)

// Retry says when a unary call is sent to another backend. The zero value is
// what most clients want.
//
// A call that a server says it has not processed (REFUSED_STREAM, or above the
// last stream of GOAWAY) is always sent again, whatever its method, and for free:
// once by gRPC itself, and by this package as often as it takes, with growing
// pauses. One that may have been processed is sent again only as Codes, Methods
// and TryTimeout say, and if the retry budget allows: one retry for every five
// calls of the channel, and ten a second. Hedges take from the same budget, and so
// do gRPC's own retries.
//
// Streams are not retried by this package: a retryPolicy in Config.ServiceConfig
// repeats them, to another backend, as long as they have had no message.
type Retry struct {
	// MaxAttempts is how often one call is sent at most, the retries that are free
	// included. The default is 5, and of free ones 16; 1 means no retries at all.
	MaxAttempts int
	// Codes are those of calls that another backend is asked after, such as
	// UNAVAILABLE. The default is none. If there is no other backend, the caller gets the
	// last answer. A server's pushback holds (gRFC A6): the retry waits for as long
	// as it says, and there is none if it is negative.
	Codes []codes.Code
	// TryTimeout is how long one backend may take to answer before another is
	// asked, if there is one and the budget allows. The default is as long as the
	// call's own context. It does not count for the last attempt, nor where Hedge
	// has a percentile to go by.
	TryTimeout time.Duration
	// Methods reports whether a method, such as "/pkg.Service/Method", may be
	// executed twice. It has to be set with Codes or TryTimeout.
	Methods func(fullMethod string) bool
}

const (
	defaultMaxAttempts = 5
	maxRefused         = 16 // attempts of a call that servers refuse
	refusedAtOnce      = 3  // of them without a pause
	minRefusedPause    = time.Millisecond
	maxRefusedPause    = 100 * time.Millisecond
)

func (r *Retry) validate() error {
	switch {
	case r.MaxAttempts < 0:
		return fmt.Errorf("Retry.MaxAttempts: %d is negative", r.MaxAttempts)
	case r.TryTimeout < 0:
		return fmt.Errorf("Retry.TryTimeout: %v is negative", r.TryTimeout)
	case slices.Contains(r.Codes, codes.OK):
		return errors.New("Retry.Codes: OK is no failure")
	case r.enabled() && r.Methods == nil:
		return errors.New("Retry.Methods: it has to say which methods may be executed twice")
	default:
		return nil
	}
}

// enabled reports whether there are retries of what may have been processed.
func (r *Retry) enabled() bool { return len(r.Codes) > 0 || r.TryTimeout > 0 }

func (r *Retry) maxAttempts(otherwise int) int {
	if r.MaxAttempts == 0 {
		return otherwise
	}
	return r.MaxAttempts
}

// sibling returns a context for a further attempt of the call, which may end
// before the context that the caller gave.
func (c *callContext) sibling() *callContext {
	return &callContext{
		Context: c.Context, channel: c.channel, cc: c.cc, method: c.method, key: c.key, hasKey: c.hasKey,
		history: c.history, member: c.member, trace: c.trace,
	}
}

// again makes further attempts of a unary call whose first one ended with an
// error, as long as it may.
func (ch *channel) again(c *callContext, r *rpc, err error, send func(n int) error) error {
	for n := 1; err != nil && ch.mayRetry(c, r, n); n++ {
		err = send(n + 1)
	}
	c.history.drop()
	return err
}

// mayRetry reports whether there is another attempt after n. It waits as long as
// that has to wait, and pays for it.
func (ch *channel) mayRetry(c *callContext, r *rpc, n int) bool {
	if c.Err() != nil {
		return false
	}
	last, reserved := c.history.takeLast()
	switch {
	case reserved: // by TryTimeout
		return true
	case last.ending == refused:
		return n < ch.retry.maxAttempts(maxRefused) && sleep(c.Context, refusedPause(n))
	case c.member != nil, n >= ch.retry.maxAttempts(defaultMaxAttempts), last.ending.free(),
		!slices.Contains(ch.retry.Codes, last.code), last.pushback == noRetry, !ch.retry.Methods(r.method):
		return false
	default:
		return sleep(c.Context, last.pushback) && ch.reserve(c)
	}
}

// takeLast returns what came of the last attempt, and whether there is a backend
// for the next one already.
func (h *history) takeLast() (last lastAttempt, reserved bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	last = h.last
	h.last = lastAttempt{}
	if h.next != nil {
		h.why = balancer.TryTimeout
	}
	return last, h.next != nil
}

// refusedPause is how long to wait after n attempts that servers have refused.
// When they refuse many, they had better not come again all at once.
func refusedPause(n int) time.Duration {
	if n < refusedAtOnce {
		return 0
	}
	pause := min(minRefusedPause<<(n-refusedAtOnce), maxRefusedPause)
	return pause/2 + rand.N(pause/2+1)
}

// sleep waits. It reports false, at once if it can, where the context ends before
// that.
func sleep(ctx context.Context, d time.Duration) bool {
	if d == 0 {
		return true
	}
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < d {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// drop gives up the pick for the next attempt, if there is one.
func (h *history) drop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dropLocked()
}

func (h *history) dropLocked() {
	if h.next != nil {
		h.next.Undo()
		h.next = nil
	}
}

// try makes the n-th attempt, and gives it up after Retry.TryTimeout if another
// backend may be asked then.
func (ch *channel) try(c *callContext, r *rpc, n int) error {
	limit := ch.retry.TryTimeout
	if limit == 0 || n >= ch.retry.maxAttempts(defaultMaxAttempts) || c.member != nil || !ch.retry.Methods(r.method) {
		return r.send(c)
	}
	attempt := c.sibling()
	ctx, cancel := context.WithCancel(c.Context)
	defer cancel()
	attempt.Context = ctx
	done := make(chan struct{})
	timer := time.AfterFunc(limit, func() {
		defer close(done)
		if ch.reserve(attempt) {
			attempt.gaveUp.Store(true)
			cancel()
		}
	})
	err := r.send(attempt)
	if !timer.Stop() {
		<-done
	}
	return err
}

// reserve picks a backend for the next attempt, if there is another one and the
// budget allows.
func (ch *channel) reserve(c *callContext) bool {
	h := c.history
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.pool == nil {
		return false // it has not been sent anywhere
	}
	r := h.pool.request(&gbalancer.PickInfo{FullMethodName: c.method, Ctx: c}, c)
	r.Tried = h.tried[:h.n]
	picked, err := h.pool.balancer.Pick(r)
	if err != nil {
		return false
	}
	if !ch.budget.Withdraw(ch.now()) {
		picked.Undo()
		return false
	}
	h.next, h.paid = &picked, true
	return true
}
