package kubeapi

import (
	"context"
	"errors"
	"net/http"
)

// ErrTooMany says that there are more objects than ListWatch.MaxObjects.
var ErrTooMany = errors.New("too many objects")

// The ways in which a watch can end other than by the server's answer.
var (
	errNoAnswer   = error(timeoutError{})
	errIdle       = errors.New("the connection of the watch is dead")
	errSetBack    = errors.New("the API server is at an earlier version than it was")
	errBehind     = errors.New("the watch does not bring what the API server has")
	errBroken     = errors.New("the watch broke off")
	errShortWatch = errors.New("the API server ended the watch at once")
)

// A timeoutError says that there was no answer.
type timeoutError struct{}

func (timeoutError) Error() string { return "the API server did not answer in time" }

// Timeout is what net.Error has.
func (timeoutError) Timeout() bool { return true }

// explain puts the reason for which ctx was cancelled in place of the error
// that came of it.
func explain(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// gone reports whether the server has forgotten the version to watch from.
func gone(err error) bool {
	var s *StatusError
	return errors.As(err, &s) && (s.Code == http.StatusGone || s.Reason == "Expired" || s.Reason == "Gone")
}
