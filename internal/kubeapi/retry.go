package kubeapi

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// Timing holds the durations of a ListWatch. Zero values are the defaults, so
// that, but for SpreadUntil, only tests set any.
type Timing struct {
	// SpreadUntil is until when the first request may be put off; its time is
	// drawn from now to this. It spares the API server where many processes start
	// as one, at the price of a later first answer. The default is not at all.
	SpreadUntil time.Time
	// WatchTimeout is the shortest time after which the server is asked to end
	// a watch, in whole seconds; it is drawn for each watch from once to 1.9 times
	// this. The default is 5 minutes, as in client-go. A watch that goes on for a
	// tenth of this longer is given up: its connection is dead.
	WatchTimeout time.Duration
	// AnswerTimeout is how long a list may take, be it streaming or plain, and
	// a watch to begin. The default is 30 seconds.
	AnswerTimeout time.Duration
	// IdleTimeout is how long a watch may bring nothing before the server is asked,
	// once for each watch, whether there is anything. The default is 150 seconds.
	// Servers send a bookmark each minute, but only while any object of the
	// resource type changes, so silence by itself means nothing.
	IdleTimeout time.Duration
	// CatchUp is how long a watch may be behind what the server answers when it is
	// asked. The default is 5 seconds.
	CatchUp time.Duration
	// ShortWatch is the length below which a watch without any event counts as
	// failed, so that a server that ends watches at once is not asked in a tight
	// loop. The default is 1 second, as in client-go.
	ShortWatch time.Duration
	// FirstBackoff and MaxBackoff bound the waiting after the first failure and
	// after many, which is drawn from zero to a limit that doubles each time.
	// The defaults are 0.8 and 30 seconds, client-go's.
	FirstBackoff, MaxBackoff time.Duration
}

func (t Timing) withDefaults() Timing {
	set := func(d *time.Duration, to time.Duration) {
		if *d == 0 {
			*d = to
		}
	}
	set(&t.WatchTimeout, 5*time.Minute)
	set(&t.AnswerTimeout, 30*time.Second)
	set(&t.IdleTimeout, 150*time.Second)
	set(&t.CatchUp, 5*time.Second)
	set(&t.ShortWatch, time.Second)
	set(&t.FirstBackoff, 800*time.Millisecond)
	set(&t.MaxBackoff, 30*time.Second)
	return t
}

// watchTimeout draws the length of a watch, so that the clients of a server do
// not all come back at once.
func (t Timing) watchTimeout() time.Duration {
	return t.WatchTimeout + rand.N(t.WatchTimeout*9/10+1)
}

// endGrace is how much longer than asked a watch may go on.
func (t Timing) endGrace() time.Duration { return t.WatchTimeout / 10 }

// startDelay draws how long to wait before the first request.
func (t Timing) startDelay() time.Duration {
	left := time.Until(t.SpreadUntil)
	if left <= 0 {
		return 0
	}
	return rand.N(left)
}

// healthyAfter is how long a watch must have lasted for earlier failures to be
// forgotten.
const healthyAfter = 2 * time.Minute

// retry waits longer from failure to failure.
type retry struct {
	backoff *backoff.ExponentialBackOff
}

func newRetry(t Timing) retry {
	return retry{backoff.NewExponentialBackOff(
		// A factor of 1 spreads the waiting from zero to twice the interval.
		backoff.WithInitialInterval(t.FirstBackoff/2),
		backoff.WithMaxInterval(t.MaxBackoff/2),
		backoff.WithRandomizationFactor(1),
		backoff.WithMultiplier(2),
		backoff.WithMaxElapsedTime(0),
	)}
}

// wait waits after a failure because of err, or until ctx ends. What the server
// asks for in Retry-After comes on top, to keep its clients spread out.
func (r retry) wait(ctx context.Context, err error) {
	d := r.backoff.NextBackOff()
	if status, ok := errors.AsType[*StatusError](err); ok {
		d += status.RetryAfter
	}
	pause(ctx, d)
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// lasted forgets earlier failures after a watch that was long enough.
func (r retry) lasted(d time.Duration) {
	if d >= healthyAfter {
		r.backoff.Reset()
	}
}
