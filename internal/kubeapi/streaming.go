package kubeapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// A streaming list is a watch that first sends every object there is as ADDED,
// and then a bookmark which says that this was all. It saves a request, and the
// API server the memory of a whole list. Servers have it by default since
// Kubernetes 1.34 (KEP-3157). Older ones refuse it, or know nothing of it and
// send an ordinary watch, so that the end never comes.

// streamingRetry is for how long a server that has no streaming lists is not
// asked for one: it may be upgraded while its clients run.
const streamingRetry = time.Hour

// streaming remembers whether an API server has streaming lists.
type streaming struct {
	mu      sync.Mutex
	refused time.Time // the last time it had none, or zero; guarded by mu
}

func (s *streaming) worthTrying() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refused.IsZero() || time.Since(s.refused) >= streamingRetry
}

// learn takes note of why a streaming list was refused. 422 is the answer where
// the feature is switched off, and 400 that of those who cannot read the query.
func (s *streaming) learn(err error) {
	if status, ok := errors.AsType[*StatusError](err); ok &&
		status.Code != http.StatusUnprocessableEntity && status.Code != http.StatusBadRequest {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused = time.Now()
}

var errNoStreaming = errors.New("the API server has no streaming lists")

// refused reports whether a streaming list failed because the server will not
// give one, be it that it has none or that the user may not watch. A plain list
// may then be had at once, or its failure is the one to report.
func refused(err error) bool {
	var s *StatusError
	return errors.Is(err, errNoStreaming) ||
		errors.As(err, &s) && 400 <= s.Code && s.Code < 500 && s.Code != http.StatusTooManyRequests
}

// endSilence is how long a streaming list may bring nothing before its end.
// Servers send it at one go. AnswerTimeout alone would let those that know
// nothing of it delay the first answer by half a minute.
const endSilence = 5 * time.Second

// gather takes in a streaming list and hands it on when it is complete.
//
// Nothing of one that breaks off counts, and the versions of its objects say
// nothing about where to watch on from, as they come in any order.
func gather(ctx context.Context, cancel context.CancelCauseFunc, timing Timing, events *stream, p *progress, h sink) error {
	giveUp := func() { cancel(errNoStreaming) }
	deadline := time.AfterFunc(timing.AnswerTimeout, giveUp)
	defer deadline.Stop()
	silence := time.AfterFunc(endSilence, giveUp)
	defer silence.Stop()

	h.gather()
	known := make(map[string]string)
	for {
		e, err := events.next()
		if err != nil {
			return incomplete(explain(ctx, err))
		}
		silence.Reset(endSilence)
		at, err := apply(e, h)
		if err != nil {
			return err
		}
		switch {
		case at.object.name == "":
		case e.Type == Deleted:
			delete(known, at.object.name)
		default:
			known[at.object.name] = at.object.version
		}
		if at.listed {
			if at.version == "" {
				return fmt.Errorf("%w: the list has no resourceVersion", errBroken)
			}
			p.listed(at.version, known)
			h.replace()
			return nil
		}
	}
}

// incomplete says what it means that a stream ends before its list does.
func incomplete(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: it ended before the list was complete", errBroken)
	}
	return err
}
