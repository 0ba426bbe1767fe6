package httpbalancer

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/sidestep-lb/sidestep/discovery"
)

// A Trace collects how one request went: to which backends it was sent, and
// why. The zero value is ready to use; give it to a request with [WithTrace].
// It may be read at any time.
type Trace struct {
	mu       sync.Mutex
	attempts []Attempt // guarded by mu
}

// An Attempt is one try to have a request answered.
type Attempt struct {
	// Backend is the endpoint that was asked. It must not be changed.
	Backend *discovery.Endpoint
	// Reason is why there was this attempt after the one before, and empty for
	// the first.
	Reason Reason
	// Began is when the backend had been picked.
	Began time.Time
	// Took is how long it took until the headers of the response were there, or
	// the attempt had failed. It is 0 while neither is the case.
	Took time.Duration
	// Status is that of the response, and 0 if there is none.
	Status int
	// Err is why the attempt failed.
	Err error
}

// A Reason is why a request was sent again.
type Reason string

// The reasons.
const (
	NotSent      Reason = "not sent"    // nothing of the request had reached a backend
	Refused      Reason = "refused"     // a backend had refused to process it
	Broken       Reason = "broken"      // the connection broke before the answer
	ChosenStatus Reason = "status"      // the answer was one of Retry.Statuses
	TryTimeout   Reason = "try timeout" // there was no answer within Retry.TryTimeout
	Hedged       Reason = "hedge"       // the answer took longer than most do
)

type traceInContext struct{}

// WithTrace returns a context whose requests to Services note their attempts in
// t. Several requests may share one, such as those that follow redirects.
func WithTrace(ctx context.Context, t *Trace) context.Context {
	return context.WithValue(ctx, traceInContext{}, t)
}

func traceFrom(ctx context.Context) *Trace {
	t, _ := ctx.Value(traceInContext{}).(*Trace)
	return t
}

// Attempts returns the attempts that have begun so far, in their order. The last
// one is that which the response came from, unless there were hedges.
func (t *Trace) Attempts() []Attempt {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.attempts)
}

// begin notes an attempt and returns its number.
func (t *Trace) begin(backend *discovery.Endpoint, why Reason) int {
	if t == nil {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.attempts = append(t.attempts, Attempt{Backend: backend, Reason: why, Began: time.Now()})
	return len(t.attempts) - 1
}

func (t *Trace) end(number int, resp *http.Response, err error) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	a := &t.attempts[number]
	a.Took, a.Err = max(time.Since(a.Began), 1), err
	if resp != nil {
		a.Status = resp.StatusCode
	}
}
