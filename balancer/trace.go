package balancer

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/sidestep-lb/sidestep/balancer/internal/link"
	"github.com/sidestep-lb/sidestep/discovery"
)

// A Trace collects the attempts of a request, see [WithTrace]. The zero value is ready
// to use, and may be read at any time.
type Trace struct {
	mu             sync.Mutex
	target, policy string    // guarded by mu
	attempts       []Attempt // guarded by mu
}

// An Attempt is one try to have a request answered.
type Attempt struct {
	Backend *discovery.Endpoint // read-only
	Reason  Reason              // for this attempt after the one before; empty for the first
	Began   time.Time           // when the backend was picked
	Took    time.Duration       // until the HTTP headers, the end of the gRPC call, or the failure; 0 before
	Status  int                 // of an HTTP response, or 0
	Err     error               // why the attempt failed, or nil
}

// A Reason is why a request was sent again.
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

// WithTrace returns a context whose requests note their attempts in t. They may be
// several, such as those that follow redirects.
func WithTrace(ctx context.Context, t *Trace) context.Context {
	return context.WithValue(ctx, link.TraceKey{}, t)
}

// Attempts returns the attempts so far, in the order in which they began.
func (t *Trace) Attempts() []Attempt {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.attempts)
}

// Target returns the target of the request, or "" before the first attempt.
func (t *Trace) Target() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.target
}

// Policy returns the name of the policy, or "" before the first attempt.
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
