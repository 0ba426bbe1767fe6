package httpbalancer

import (
	"fmt"
	"time"
)

// Retry says when a request is sent to another backend. The zero value is what
// most clients want.
//
// A request that no backend can have processed is always sent to another one,
// whatever its method and for free: the connection could not be made, had ended
// before a byte was written, or was refused by an alert of TLS, or the server says
// so: by REFUSED_STREAM, or by a GOAWAY whose last stream comes before the request's
// (RFC 9113, sections 6.8 and 8.7). No other error code of HTTP/2 says that. Of a
// body without GetBody, what has been read of it is kept for that, up to 64 KiB,
// until the headers of the response are there. Servers that refuse again and again
// are asked at growing intervals, up to 100 ms, until the request's deadline has
// passed, or for a minute if it has none.
//
// One that may have been processed is sent again only if its method is GET, HEAD,
// OPTIONS or TRACE, or it has a header Idempotency-Key or X-Idempotency-Key, its
// body can be made anew with GetBody, and the retry budget allows: one retry for
// every five requests to the Service, and ten a second.
type Retry struct {
	// MaxAttempts is to how many backends one request is sent at most. Attempts that
	// a server refuses do not count. The default is 5; 1 means no retries at all.
	MaxAttempts int
	// Statuses are those of answers to idempotent requests that another backend
	// is asked after, such as 503; 502, 503 and 504 are what meshes take. The
	// default is none: an answer is an answer. The budget holds, and Retry-After
	// is for the backend that says so, not for the others. If there is no other
	// backend, or none does better, the caller gets the last answer.
	Statuses []int
	// TryTimeout is how long one backend may take to answer an idempotent request
	// before another is asked, if the budget allows, or nothing has been sent yet,
	// which is for free. The default is as long as the request's own context. It ends with the headers of the response, and
	// does not count for the last attempt.
	TryTimeout time.Duration
}

const defaultMaxAttempts = 5

func (r *Retry) validate() error {
	switch {
	case r.MaxAttempts < 0:
		return fmt.Errorf("Retry.MaxAttempts: %d is negative", r.MaxAttempts)
	case r.TryTimeout < 0:
		return fmt.Errorf("Retry.TryTimeout: %v is negative", r.TryTimeout)
	}
	for _, s := range r.Statuses {
		if s < 300 || s > 599 {
			return fmt.Errorf("Retry.Statuses: %d is no status of a failure", s)
		}
	}
	return nil
}
