package httpbalancer

import (
	"net/http"
	"strconv"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/health"
)

// StatusOutcome says what a status means for the backend that answered with it,
// unless Config.Outcome says otherwise. 5xx are failures of the server (RFC 9110,
// section 15.6), 429 says that it has too much to do, the other 4xx say that the
// request was wrong, which is held against nobody, and the rest are successes.
func StatusOutcome(status int) health.Outcome {
	switch {
	case status >= 500, status == http.StatusTooManyRequests:
		return health.Failure
	case status >= 400:
		return health.Neutral
	default:
		return health.Success
	}
}

// resultOf says what a response means for its backend.
func resultOf(config *Config, resp *http.Response) balancer.Result {
	var o health.Outcome
	if config.Outcome != nil {
		o = config.Outcome(resp)
	} else {
		o = StatusOutcome(resp.StatusCode)
	}
	if o != health.Failure {
		return balancer.Result{Outcome: o}
	}
	return balancer.Result{Outcome: o, RetryAfter: retryAfter(resp.Header)}
}

// maxSpared bounds what a backend may ask for.
const maxSpared = 5 * time.Minute

// spare keeps requests from a backend for as long as it asked, whatever the
// policy, if there is another.
func (c *backendConn) spare(d time.Duration) {
	until := c.pool.now() + int64(min(d, maxSpared))
	c.spared.Store(until)
	for {
		latest := c.pool.sparing.Load()
		if until <= latest || c.pool.sparing.CompareAndSwap(latest, until) {
			return
		}
	}
}

// spares reports whether there may be a backend that is spared.
func (p *pool) spares() bool {
	latest := p.sparing.Load()
	return latest > 0 && latest > p.now()
}

// retryAfter reads the header of that name (RFC 9110, section 10.2.3). It is
// zero if there is none that makes sense.
func retryAfter(h http.Header) time.Duration {
	text := h.Get("Retry-After")
	if text == "" {
		return 0
	}
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	return max(time.Until(at), 0)
}
