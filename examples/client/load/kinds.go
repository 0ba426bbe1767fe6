package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/examples/client/result"
)

// A statusError is an HTTP reply other than 200.
type statusError struct {
	code int
	body string
}

func (e *statusError) Error() string {
	return fmt.Sprintf("HTTP status %d: %s", e.code, strings.TrimSpace(e.body))
}

// A sentError is the failure of a request that cannot be repeated, of which some
// may have reached a pod.
type sentError struct{ error }

func (e *sentError) Unwrap() error { return e.error }

// classify returns the kind of a failure, and its text without the URL that
// http.Client puts before it.
func classify(err error) (result.Kind, string) {
	sent := (*sentError)(nil)
	isSent := errors.As(err, &sent) && !errors.Is(err, context.DeadlineExceeded)
	if urlErr := (*url.Error)(nil); errors.As(err, &urlErr) {
		err = urlErr.Err
	}
	text := err.Error()
	if isSent {
		return result.Sent, text
	}
	if s, ok := status.FromError(err); ok {
		return classifyStatus(s), text
	}
	var statusErr *statusError
	switch {
	case errors.Is(err, discovery.ErrNoEndpoints), errors.Is(err, discovery.ErrServiceNotFound):
		return result.NoEndpoints, text
	case errors.Is(err, context.DeadlineExceeded):
		return result.Deadline, text
	case errors.Is(err, syscall.ECONNREFUSED):
		return result.Refused, text
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return result.Reset, text
	case errors.As(err, &statusErr) && statusErr.code == http.StatusServiceUnavailable:
		return result.Unavailable, text
	default:
		return result.Other, text
	}
}

// classifyStatus has nothing but the text to tell one UNAVAILABLE from another.
func classifyStatus(s *status.Status) result.Kind {
	text := s.Message()
	switch {
	case strings.Contains(text, discovery.ErrNoEndpoints.Error()), strings.Contains(text, discovery.ErrServiceNotFound.Error()):
		return result.NoEndpoints
	case s.Code() == codes.DeadlineExceeded:
		return result.Deadline
	case s.Code() != codes.Unavailable:
		return result.Other
	case strings.Contains(text, "connection refused"):
		return result.Refused
	case strings.Contains(text, "connection reset"), strings.Contains(text, "broken pipe"), strings.Contains(text, "EOF"),
		strings.Contains(text, "connection is draining"), strings.Contains(text, "transport is closing"):
		return result.Reset
	default:
		return result.Unavailable
	}
}
