package httpbalancer

import (
	"net/http"
	"strconv"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/health"
)

// resultOf says what a response's status means for its backend. 5xx are
// failures of the server (RFC 9110, section 15.6), 429 says that it has too much
// to do, and the other 4xx that the request was wrong.
func resultOf(resp *http.Response) balancer.Result {
	switch status := resp.StatusCode; {
	case status >= 500, status == http.StatusTooManyRequests:
		return balancer.Result{Outcome: health.Failure, RetryAfter: retryAfter(resp.Header)}
	case status >= 400:
		return balancer.Result{Outcome: health.Neutral}
	default:
		return balancer.Result{Outcome: health.Success}
	}
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
