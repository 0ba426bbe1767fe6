package balancer

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/sidestep-lb/sidestep/balancer/internal/link"
	"github.com/sidestep-lb/sidestep/discovery"
)

// A Trace collects how one request went: to which backends it was sent, and why.
// The zero value is ready to use; give it to a request with [WithTrace]. It may
// be read at any time.
type Trace struct {
	mu             sync.Mutex
	target, policy string    // guarded by mu
	attempts       []Attempt // guarded by mu
}

// An Attempt is one try to have a request answered.
type Attempt struct {
	// Backend is the endpoint that was asked. It must not be changed.
	Backend *discovery.Endpoint
	// Reason is why there was this attempt after the one before, and empty for
	// the first. gRPC does not tell its reasons: by how far the one before got, a
	// retry there is after NotSent, Broken or Answer.
	Reason Reason
	// Began is when the backend had been picked.
	Began time.Time
	// Took is how long it took until the headers of an HTTP response were there,
	// or a gRPC call was over, or the attempt had failed. It is 0 while none of
	// that is the case.
	Took time.Duration
	// Status is that of an HTTP response, and 0 if there is none.
	Status int
	// Err is why the attempt failed.
	Err error
}

// A Reason is why a request was sent once more.
type Reason string

// The reasons.
const (
	NotSent    Reason = "not_sent"    // nothing of the request had reached a backend
	Refused    Reason = "refused"     // a backend had refused to process it
	Broken     Reason = "broken"      // the connection broke before the answer
	Answer     Reason = "answer"      // the answer was one that is worth another try
	TryTimeout Reason = "try_timeout" // there was no answer within the time for a try
	Hedged     Reason = "hedge"       // the answer took longer than most do
)

// WithTrace returns a context whose requests to Services note their attempts in
// t. Several requests may share one, such as those that follow redirects.
func WithTrace(ctx context.Context, t *Trace) context.Context {
	return context.WithValue(ctx, link.TraceKey{}, t)
}

// Attempts returns the attempts that have begun so far, in their order. The last
// one is that which the answer came from, unless there were hedges.
func (t *Trace) Attempts() []Attempt {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.attempts)
}

// Target returns the target that the request went to, and Policy the rule by which
// backends were picked. Both are empty before the first attempt.
func (t *Trace) Target() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.target
}

// Policy returns the rule by which backends were picked, see Target.
func (t *Trace) Policy() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.policy
}

//nolint:gochecknoinits // package adapter notes attempts, which nobody else should
func init() {
	link.SetTracing(link.Tracing[*Trace, Reason]{Begin: (*Trace).begin, End: (*Trace).end, Undo: (*Trace).undo})
}

// begin notes an attempt and returns its number.
func (t *Trace) begin(target, policy string, e *discovery.Endpoint, why Reason) (number int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.target, t.policy = target, policy
	t.attempts = append(t.attempts, Attempt{Backend: e, Reason: why, Began: time.Now()})
	return len(t.attempts) - 1
}

// end notes how an attempt ended.
func (t *Trace) end(number, status int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := &t.attempts[number]
	a.Took, a.Status, a.Err = max(time.Since(a.Began), 1), status, err
}

// undo takes back an attempt that never became one, if it is the last.
func (t *Trace) undo(number int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if number == len(t.attempts)-1 {
		t.attempts = t.attempts[:number]
	}
}
