package kubeapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"time"
)

// A ListWatch keeps a handler informed of the objects of one resource type, such
// as *EndpointSlice.
type ListWatch[T Object] reader

// A reader is a ListWatch that does not know the type of the objects.
type reader struct {
	Client *Client
	// Path is that of the resource type; see EndpointSlicesPath.
	Path string
	// LabelSelector and FieldSelector narrow the objects down.
	LabelSelector, FieldSelector string
	// Timing is for tests, but for its SpreadUntil.
	Timing Timing
	// Fresh asks for a first list that is no older than the request. It may come
	// from the server's cache otherwise, whatever its age.
	Fresh bool
	// MaxObjects is the length beyond which a list fails with ErrTooMany. The
	// default is none.
	MaxObjects int
	// MaxEventBytes is the size beyond which an event is refused. The default is
	// 16 MiB; etcd holds no object larger than some 2 MiB.
	MaxEventBytes int64
}

// maxList bounds what a list may hold: ten thousand endpoints make 4 MB.
const maxList = 256 << 20

// Run lists and watches until ctx ends. The list is a streaming one, the
// beginning of the watch, where the server has those.
//
// A watch that the server ends is resumed where it stopped, without a list. So
// is, after a pause, one that failed because the server is down or busy. Only a
// version that the server has forgotten (410 Gone, as a status or as an event)
// or a stream that breaks off time after time is answered by a new list.
func (l *ListWatch[T]) Run(ctx context.Context, h Handler[T]) {
	(*reader)(l).run(ctx, &typed[T]{Handler: h, max: l.MaxObjects})
}

func (r *reader) run(ctx context.Context, h sink) {
	timing := r.Timing.withDefaults()
	retry := newRetry(timing)
	p := progress{stale: !r.Fresh}
	pause(ctx, timing.startDelay())
	for ctx.Err() == nil {
		if p.version == "" && (p.plain || !r.Client.streaming.worthTrying()) {
			p.plain = false
			if err := r.list(ctx, timing, &p, h); err != nil {
				if ctx.Err() == nil {
					p.fail(h, err)
					retry.wait(ctx, err)
				}
				continue
			}
		}
		start := time.Now()
		err := r.watch(ctx, timing, &p, h)
		retry.lasted(time.Since(start))
		// Whatever a streaming list failed of, a plain one may do better: it
		// passes proxies that do not let a stream through.
		p.plain = p.version == ""
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
		case errors.Is(err, errSetBack), errors.Is(err, errBehind):
			p.version, p.stale, p.plain = "", false, false
			continue
		case p.plain && refused(err):
			r.Client.streaming.learn(err)
			continue
		case errors.Is(err, errBroken):
			// A single watch that breaks off is everyday life. If the server is
			// gone, the next attempt will say so.
			if p.broken++; p.broken > 1 {
				p.fail(h, err)
				p.version, p.stale = "", false
			}
		default:
			p.fail(h, err)
		}
		retry.wait(ctx, err)
	}
}

// list fetches all objects and hands them on.
func (r *reader) list(ctx context.Context, timing Timing, p *progress, h sink) error {
	ctx, cancel := context.WithTimeoutCause(ctx, timing.AnswerTimeout, errNoAnswer)
	defer cancel()
	query := r.selectors()
	if p.stale {
		query.Set("resourceVersion", "0")
	}
	body, err := r.Client.get(ctx, r.Path, query)
	if err != nil {
		return explain(ctx, err)
	}
	defer body.Close()
	var answer list
	if err := json.NewDecoder(&meter{r: body, max: maxList}).Decode(&answer); err != nil {
		return fmt.Errorf("list: %w", explain(ctx, err))
	}
	// Whatever else answers with JSON must not pass for "no objects".
	if answer.Metadata.ResourceVersion == "" {
		return errors.New("list: the answer has no resourceVersion, so it does not come from a Kubernetes API server")
	}
	h.gather()
	known := make(map[string]string, len(answer.Items))
	for _, item := range answer.Items {
		meta, err := h.apply(Added, item)
		if err != nil {
			return fmt.Errorf("list: %w", err)
		}
		known[meta.name] = meta.version
	}
	p.listed(answer.Metadata.ResourceVersion, known)
	h.replace()
	return nil
}

// watch hands on changes until the watch ends, and before them a streaming list
// if one is due. It returns nil if the server ended the watch as it was asked to.
func (r *reader) watch(ctx context.Context, timing Timing, p *progress, h sink) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(timing.AnswerTimeout, func() { cancel(errNoAnswer) })
	defer timer.Stop()
	seconds := int(timing.watchTimeout().Seconds())
	body, err := r.Client.get(ctx, r.Path, r.watchQuery(seconds, p))
	if err != nil {
		return explain(ctx, err)
	}
	defer body.Close()
	if !timer.Stop() {
		return errNoAnswer
	}
	if seconds > 0 { // of a dead connection, the server's own end never comes
		end := time.AfterFunc(time.Duration(seconds)*time.Second+timing.endGrace(), func() { cancel(errIdle) })
		defer end.Stop()
	}
	listening := &silence{reader: r, timing: timing, ctx: ctx, cancel: cancel, body: body, progress: p}
	events := newStream(listening, r.MaxEventBytes)
	if p.version == "" {
		if err := gather(ctx, cancel, timing, events, p, h); err != nil {
			return err
		}
	}
	defer p.recover(h)()

	listening.start()
	defer listening.end()
	start := time.Now()
	seen, err := consume(events, p, h)
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errSetBack), errors.Is(cause, errBehind):
		return cause
	case cause != nil:
		return nil // on a new connection, the next attempt will tell
	case errors.Is(err, io.EOF) && !seen && time.Since(start) < timing.ShortWatch:
		return errShortWatch
	case errors.Is(err, io.EOF):
		p.broken = 0
		return nil
	}
	return err
}

func (r *reader) watchQuery(seconds int, p *progress) url.Values {
	query := r.selectors()
	query.Set("watch", "1")
	query.Set("allowWatchBookmarks", "true")
	query.Set("timeoutSeconds", strconv.Itoa(seconds))
	switch {
	case p.version != "":
		query.Set("resourceVersion", p.version)
		return query
	case p.stale:
		query.Set("resourceVersion", "0")
	}
	query.Set("sendInitialEvents", "true")
	query.Set("resourceVersionMatch", "NotOlderThan")
	return query
}

// consume hands on the events of a watch and reports whether there were any.
// The error is io.EOF if the watch ended after an event.
func consume(events *stream, p *progress, h sink) (seen bool, err error) {
	for ; ; seen = true {
		e, err := events.next()
		if err != nil {
			return seen, err
		}
		at, err := apply(e, h)
		if err != nil {
			return seen, err
		}
		if at.object.name != "" {
			p.changed(e.Type, at.object)
		}
		if at.version != "" {
			p.at(at.version)
			p.moved, p.broken = true, 0
		}
	}
}

// A position is where an event has brought a watch to.
type position struct {
	version string   // empty if the event does not tell
	listed  bool     // the initial events of a streaming list are complete
	object  identity // what has changed; nameless if nothing has
}

// apply hands on one event.
func apply(e event, h sink) (position, error) {
	switch e.Type {
	case Added, Modified, Deleted:
		object, err := h.apply(e.Type, e.Object)
		if errors.Is(err, ErrTooMany) {
			return position{}, err
		}
		if err != nil {
			return position{}, fmt.Errorf("%w: %s event: %w", errBroken, e.Type, err)
		}
		return position{version: object.version, object: object}, nil
	case bookmark:
		var b bookmarkObject
		if err := json.Unmarshal(e.Object, &b); err != nil {
			return position{}, fmt.Errorf("%w: %s event: %w", errBroken, e.Type, err)
		}
		return position{version: b.Metadata.ResourceVersion, listed: b.Metadata.Annotations.End == "true"}, nil
	case failure:
		var s status
		if err := json.Unmarshal(e.Object, &s); err != nil {
			return position{}, fmt.Errorf("%w: %s event: %w", errBroken, e.Type, err)
		}
		return position{}, fmt.Errorf("watch: %w", s.err())
	}
	return position{}, nil // a type that does not exist yet
}

func (r *reader) selectors() url.Values {
	query := make(url.Values)
	if r.LabelSelector != "" {
		query.Set("labelSelector", r.LabelSelector)
	}
	if r.FieldSelector != "" {
		query.Set("fieldSelector", r.FieldSelector)
	}
	return query
}
