package kubeapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// A StatusError is an API server's answer other than success: an HTTP status,
// or an ERROR event in a watch.
type StatusError struct {
	// Code is the HTTP status code.
	Code int
	// Reason is the API's word for the cause, such as Forbidden or Expired. It
	// may be empty.
	Reason string
	// Message is the server's explanation for people.
	Message string
	// RetryAfter is how long the server asks to be left alone, or zero.
	RetryAfter time.Duration

	tooLarge bool // the version that was asked for is yet to come
}

// Error implements error.
func (e *StatusError) Error() string {
	text := fmt.Sprintf("HTTP status %d", e.Code)
	if word := http.StatusText(e.Code); word != "" {
		text += " " + word
	}
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}

// A status is the API's own form of an error, metav1.Status.
type status struct {
	Code    int    `json:"code"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
	Details struct {
		RetryAfterSeconds int64 `json:"retryAfterSeconds"`
		Causes            []struct {
			Reason string `json:"reason"`
		} `json:"causes"`
	} `json:"details"`
}

func (s *status) err() *StatusError {
	if s.Code == 0 { // optional in the API
		s.Code = http.StatusInternalServerError
	}
	err := &StatusError{
		Code:       s.Code,
		Reason:     s.Reason,
		Message:    clean(s.Message),
		RetryAfter: seconds(s.Details.RetryAfterSeconds),
	}
	for _, cause := range s.Details.Causes {
		err.tooLarge = err.tooLarge || cause.Reason == "ResourceVersionTooLarge" // metav1.CauseTypeResourceVersionTooLarge
	}
	return err
}

// maxStatusBytes is what is read of an error's body.
const maxStatusBytes = 64 << 10

// responseError turns an answer that is no success into a *StatusError. What
// stands between client and API server may have written the body, so that it
// need not be a status.
func responseError(resp *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxStatusBytes)) // the status code alone says enough
	var s status
	if json.Unmarshal(body, &s) != nil || s.Message == "" {
		s.Message = string(body)
	}
	err := s.err()
	err.Code = resp.StatusCode
	// Of a number too large ParseInt returns the largest.
	if n, convErr := strconv.ParseInt(resp.Header.Get("Retry-After"), 10, 64); convErr == nil || errors.Is(convErr, strconv.ErrRange) {
		err.RetryAfter = seconds(n)
	}
	return err
}

// maxRetryAfter bounds for how long a server can silence its clients.
const maxRetryAfter = 5 * time.Minute

func seconds(n int64) time.Duration {
	return time.Duration(min(max(n, 0), int64(maxRetryAfter/time.Second))) * time.Second
}

// maxMessage is the length at which messages are cut, in bytes.
const maxMessage = 1000

// clean makes one line of reasonable length of what a server sent.
func clean(message string) string {
	if len(message) > maxMessage {
		message = message[:maxMessage] + " …"
	}
	return strings.Join(strings.Fields(strings.ToValidUTF8(message, "?")), " ")
}
