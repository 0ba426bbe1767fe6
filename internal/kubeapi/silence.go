package kubeapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// A silence listens to a watch that may bring nothing for a long time. That says
// nothing by itself: where no object of the resource type changes, the server sends
// no bookmarks either. But it is also what comes of a dead connection, and of a
// server that has been set back to a backup: that accepts a watch from a version
// which it has yet to reach, and drops all events until then (the watch cache in
// k8s.io/apiserver).
//
// So the server is asked, once for each watch that is silent for
// Timing.IdleTimeout, for a list that is not older than the watch. One that has
// been set back answers that the version is too large (504, after 3 s). Any other
// list should be what the watch has brought, or it is to bring the rest soon.
type silence struct {
	// Set at the start and read-only.
	reader   *reader
	timing   Timing
	ctx      context.Context         // of the watch
	cancel   context.CancelCauseFunc // ends the watch
	body     io.Reader
	progress *progress

	reads atomic.Uint64 // how often something came
	last  atomic.Int64  // when, in nanoseconds since begun
	begun time.Time     // set before start

	mu     sync.Mutex
	timer  *time.Timer    // of the next check; guarded by mu
	ended  bool           // guarded by mu
	checks sync.WaitGroup // that are due or running
}

// Read implements io.Reader.
func (s *silence) Read(p []byte) (int, error) {
	n, err := s.body.Read(p)
	if n > 0 {
		s.reads.Add(1)
		if !s.begun.IsZero() {
			s.last.Store(int64(time.Since(s.begun)))
		}
	}
	return n, err
}

// start begins to listen. It is called before the events are read.
func (s *silence) start() {
	s.begun = time.Now()
	s.check(s.timing.IdleTimeout)
}

// end waits until nobody asks.
func (s *silence) end() {
	s.cancel(nil)
	s.mu.Lock()
	s.ended = true
	if s.timer != nil && s.timer.Stop() {
		s.checks.Done()
	}
	s.mu.Unlock()
	s.checks.Wait()
}

// check looks, after d, whether the watch is silent.
func (s *silence) check(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	s.checks.Add(1)
	s.timer = time.AfterFunc(d, func() {
		defer s.checks.Done()
		quiet := time.Since(s.begun) - time.Duration(s.last.Load())
		if quiet < s.timing.IdleTimeout {
			s.check(s.timing.IdleTimeout - quiet)
			return
		}
		s.ask()
	})
}

// ask asks the server and ends the watch if that is of no use any more.
func (s *silence) ask() {
	s.progress.mu.Lock()
	version := s.progress.version
	s.progress.mu.Unlock()
	reads := s.reads.Load()
	found, at, err := s.list(version)
	var status *StatusError
	switch {
	case s.ctx.Err() != nil: // it has ended
	case errors.As(err, &status):
		if status.tooLarge {
			s.cancel(errSetBack)
		}
		// Another answer says nothing about the watch: it may be that the client
		// may not list, or that the server is busy.
	case err != nil:
		s.cancel(errIdle)
	case lower(at, version):
		s.cancel(errSetBack)
	case s.knows(found):
	default:
		pause(s.ctx, s.timing.CatchUp)
		if s.reads.Load() == reads {
			s.cancel(errBehind)
		}
	}
}

// list returns the versions of all objects, by name, and the list's own, which is
// not older than the given one.
func (s *silence) list(version string) (found map[string]string, at string, err error) {
	ctx, cancel := context.WithTimeoutCause(s.ctx, s.timing.AnswerTimeout, errNoAnswer)
	defer cancel()
	query := s.reader.selectors()
	query.Set("resourceVersion", version)
	query.Set("resourceVersionMatch", "NotOlderThan")
	body, err := s.reader.Client.get(ctx, s.reader.Path, query)
	if err != nil {
		return nil, "", explain(ctx, err)
	}
	defer body.Close()
	var answer struct {
		list
		Items []struct {
			Metadata struct {
				Name            string `json:"name"`
				ResourceVersion string `json:"resourceVersion"`
			} `json:"metadata"`
		} `json:"items"`
	}
	if err := json.NewDecoder(&meter{r: body, max: maxList}).Decode(&answer); err != nil {
		return nil, "", fmt.Errorf("list: %w", explain(ctx, err))
	}
	found = make(map[string]string, len(answer.Items))
	for _, item := range answer.Items {
		found[item.Metadata.Name] = item.Metadata.ResourceVersion
	}
	return found, answer.Metadata.ResourceVersion, nil
}

// knows reports whether the watch has brought what was found.
func (s *silence) knows(found map[string]string) bool {
	s.progress.mu.Lock()
	defer s.progress.mu.Unlock()
	return maps.Equal(found, s.progress.known)
}

// lower reports whether version a is certainly before b. Versions of one resource
// type are decimal numbers in order (KEP-5504); of others nothing is known.
func lower(a, b string) bool {
	x, errX := strconv.ParseUint(a, 10, 64)
	y, errY := strconv.ParseUint(b, 10, 64)
	return errX == nil && errY == nil && x < y
}
