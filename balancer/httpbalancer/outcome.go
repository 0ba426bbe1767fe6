package httpbalancer

import (
	"net/http"
	"strconv"
	"time"

	"github.com/sidestep-lb/sidestep/balancer/adapter"
	"github.com/sidestep-lb/sidestep/health"
)

// StatusOutcome says what a status means for the backend that answered with it,
// unless Config.Outcome says otherwise. 5xx are failures of the server (RFC 9110,
// section 15.6). 429 speaks of the caller, who has sent too many requests (RFC 6585,
// section 4), and is neutral. All others are successes: also 4xx are answers of a
// server that works, and their latency is measured.
func StatusOutcome(status int) health.Outcome {
	switch {
	case status >= 500:
		return health.Failure
	case status == http.StatusTooManyRequests:
		return health.Neutral
	default:
		return health.Success
	}
}

// resultOf says what a response means for its backend. A Retry-After is a wish of
// the server with 503 alone (RFC 9110, section 10.2.3).
func resultOf(config *Config, resp *http.Response) adapter.Result {
	var o health.Outcome
	if config.Outcome != nil {
		o = config.Outcome(resp)
	} else {
		o = StatusOutcome(resp.StatusCode)
	}
	if o != health.Failure || resp.StatusCode != http.StatusServiceUnavailable {
		return adapter.Result{Outcome: o}
	}
	return adapter.Result{Outcome: o, RetryAfter: retryAfter(resp.Header)}
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
