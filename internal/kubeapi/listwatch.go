package kubeapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// A ListWatch keeps a handler informed of the objects of one resource type in
// one namespace.
type ListWatch[T Object] struct {
	Client *Client
	// Path is that of the resource type; see EndpointSlicesPath.
	Path string
	// LabelSelector and FieldSelector narrow the objects down.
	LabelSelector, FieldSelector string
	// Timing is for tests.
	Timing Timing
	// MaxEventBytes is the size beyond which an event is refused. The default is
	// 16 MiB; etcd holds no object larger than some 2 MiB.
	MaxEventBytes int64
}

// A Handler takes what a ListWatch finds out. It is called from one goroutine
// and owns the objects it is given.
type Handler[T Object] interface {
	// Replace brings all objects there are. It comes first, and again whenever
	// events may have been missed.
	Replace(objects []T)
	// Apply brings the change of one object; kind is Added, Modified or Deleted.
	Apply(kind string, object *T)
	// Failed says why news has stopped coming. The ListWatch goes on trying. An
	// answer other than success is a *StatusError.
	Failed(err error)
	// Healthy says that news is coming, be it again or still.
	Healthy()
}

const (
	defaultMaxEvent = 16 << 20
	// maxList bounds what a list may hold: ten thousand endpoints make 4 MB.
	maxList = 256 << 20
)

// progress is how far a ListWatch has come.
type progress struct {
	// version is where to watch on from, an opaque string. Empty means that a
	// list is due.
	version string
	// stale allows the list to come from the server's cache, whatever its age.
	// After an expired version it must not, or it might expire again.
	stale bool
	// moved is set by the first event after a list.
	moved bool
	// broken counts the watches in a row that broke off without any event.
	broken int
}

// Run lists and watches until ctx ends.
//
// A watch that the server ends is resumed where it stopped, without a list. So
// is, after a pause, one that failed because the server is down or busy. Only a
// version that the server has forgotten (410 Gone, as a status or as an event)
// or a stream that breaks off time after time is answered by a new list.
func (l *ListWatch[T]) Run(ctx context.Context, h Handler[T]) {
	timing := l.Timing.withDefaults()
	retry := newRetry(timing)
	p := progress{stale: true}
	for ctx.Err() == nil {
		if p.version == "" {
			if err := l.list(ctx, timing, &p, h); err != nil {
				if ctx.Err() == nil {
					h.Failed(err)
					retry.wait(ctx, err)
				}
				continue
			}
		}
		start := time.Now()
		err := l.watch(ctx, timing, &p, h)
		retry.lasted(time.Since(start))
		switch {
		case err == nil || ctx.Err() != nil:
			continue
		case gone(err):
			moved := p.moved
			p.version, p.stale = "", false
			if moved {
				continue
			}
			// The list itself was out of date. Do not hurry to the next.
		case errors.Is(err, errBroken):
			// A single watch that breaks off is everyday life. If the server is
			// gone, the next attempt will say so.
			if p.broken++; p.broken > 1 {
				h.Failed(err)
				p.version, p.stale = "", false
			}
		default:
			h.Failed(err)
		}
		retry.wait(ctx, err)
	}
}

// list fetches all objects and hands them on.
func (l *ListWatch[T]) list(ctx context.Context, timing Timing, p *progress, h Handler[T]) error {
	ctx, cancel := context.WithTimeoutCause(ctx, timing.AnswerTimeout, errNoAnswer)
	defer cancel()
	query := l.selectors()
	if p.stale {
		query.Set("resourceVersion", "0")
	}
	body, err := l.Client.get(ctx, l.Path, query)
	if err != nil {
		return explain(ctx, err)
	}
	defer body.Close()
	var answer list[T]
	if err := json.NewDecoder(&meter{r: body, max: maxList}).Decode(&answer); err != nil {
		return fmt.Errorf("list: %w", explain(ctx, err))
	}
	// Whatever else answers with JSON must not pass for "no objects".
	if answer.Metadata.ResourceVersion == "" {
		return errors.New("list: the answer has no resourceVersion, so it does not come from a Kubernetes API server")
	}
	p.version, p.moved, p.broken = answer.Metadata.ResourceVersion, false, 0
	h.Replace(answer.Items)
	return nil
}

// watch hands on changes until the watch ends. It returns nil if the server
// ended it as it was asked to.
func (l *ListWatch[T]) watch(ctx context.Context, timing Timing, p *progress, h Handler[T]) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(timing.AnswerTimeout, func() { cancel(errNoAnswer) })
	defer timer.Stop()

	query := l.selectors()
	query.Set("watch", "1")
	query.Set("resourceVersion", p.version)
	query.Set("allowWatchBookmarks", "true")
	query.Set("timeoutSeconds", strconv.Itoa(int(timing.watchTimeout().Seconds())))
	body, err := l.Client.get(ctx, l.Path, query)
	if err != nil {
		return explain(ctx, err)
	}
	defer body.Close()
	if !timer.Stop() {
		return errNoAnswer
	}
	h.Healthy()

	start := time.Now()
	idle := time.AfterFunc(timing.IdleTimeout, func() { cancel(errIdle) })
	defer idle.Stop()
	seen, err := l.consume(&keepAwake{r: body, timer: idle, after: timing.IdleTimeout}, p, h)
	switch {
	case errors.Is(context.Cause(ctx), errIdle):
		return nil // on a new connection, the next attempt will tell
	case errors.Is(err, io.EOF) && !seen && time.Since(start) < timing.ShortWatch:
		return errShortWatch
	case errors.Is(err, io.EOF):
		p.broken = 0
		return nil
	}
	return err
}

// consume hands on the events of a watch and reports whether there were any.
// The error is io.EOF if the watch ended after an event.
func (l *ListWatch[T]) consume(r io.Reader, p *progress, h Handler[T]) (seen bool, err error) {
	maxEvent := l.MaxEventBytes
	if maxEvent == 0 {
		maxEvent = defaultMaxEvent
	}
	for events := newStream(r, maxEvent); ; seen = true {
		e, err := events.next()
		if errors.Is(err, io.EOF) {
			return seen, io.EOF
		}
		if err == nil {
			err = l.apply(e, p, h)
		} else {
			err = fmt.Errorf("%w: %w", errBroken, err)
		}
		if err != nil {
			return seen, err
		}
	}
}

// apply hands on one event.
func (l *ListWatch[T]) apply(e event, p *progress, h Handler[T]) error {
	switch e.Type {
	case Added, Modified, Deleted, bookmark:
		var object T
		if err := json.Unmarshal(e.Object, &object); err != nil {
			return fmt.Errorf("%w: %s event: %w", errBroken, e.Type, err)
		}
		if e.Type != bookmark {
			if object.meta().Name == "" {
				return fmt.Errorf("%w: %s event: the object has no name", errBroken, e.Type)
			}
			h.Apply(e.Type, &object)
		}
		if version := object.meta().ResourceVersion; version != "" {
			p.version = version
		}
	case failure:
		var s status
		if err := json.Unmarshal(e.Object, &s); err != nil {
			return fmt.Errorf("%w: %s event: %w", errBroken, e.Type, err)
		}
		return fmt.Errorf("watch: %w", s.err())
	default:
		return nil // a type that does not exist yet
	}
	p.moved, p.broken = true, 0
	return nil
}

func (l *ListWatch[T]) selectors() url.Values {
	query := make(url.Values)
	if l.LabelSelector != "" {
		query.Set("labelSelector", l.LabelSelector)
	}
	if l.FieldSelector != "" {
		query.Set("fieldSelector", l.FieldSelector)
	}
	return query
}

// The ways in which a watch can end other than by the server's answer.
var (
	errNoAnswer   = errors.New("the API server did not answer in time")
	errIdle       = errors.New("no byte came for too long")
	errBroken     = errors.New("the watch broke off")
	errShortWatch = errors.New("the API server ended the watch at once")
)

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
