package kubetest

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"time"
)

// watch answers a WATCH until it times out, is told to end, or its client
// leaves.
func (s *Server) watch(w http.ResponseWriter, r *http.Request, o listOptions) {
	initial, at, st := s.startingPoint(r.Context(), o)
	if st != nil {
		s.refuseWatch(w, r, st)
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	stream := s.journal.openStream(o.resource, cancel)
	defer s.journal.closeStream(stream)

	// A client that reads nothing may have filled the connection: a write that
	// waits for it must end with the stream.
	controller := http.NewResponseController(w)
	unblocked := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(unblocked)
		_ = controller.SetWriteDeadline(time.Now())
	})
	defer func() {
		if !stop() {
			<-unblocked
		}
	}()

	setHeader(w)
	w.WriteHeader(http.StatusOK)
	if err := controller.Flush(); err != nil {
		return
	}
	send := func(event []byte) {
		if !s.write(ctx, w, event) {
			abort()
		}
	}
	for _, record := range initial {
		send(encodeEvent("ADDED", record.whole))
	}
	if o.bookmarks && (o.streams() || o.initialEvents == nil && o.revision == 0 && s.faults.streamingLists()) {
		// Where there are streaming lists, a watch without a version is one.
		send(encodeEvent("BOOKMARK", o.resource.bookmark(at.revision, true)))
	}
	s.follow(ctx, stream, o, at, send)
}

// startingPoint is what a watch begins with and the moment it goes on from, by
// the table in https://kubernetes.io/docs/reference/using-api/api-concepts/#semantics-for-watch.
func (s *Server) startingPoint(ctx context.Context, o listOptions) (initial []*record, at *change, st *status) {
	switch {
	case o.streams(), o.initialEvents == nil && o.revision == 0:
		if st := s.await(ctx, o.revision); st != nil {
			return nil, nil, st
		}
		initial, at = s.store.list(o.filter)
		return initial, at, nil
	case o.revision == 0:
		_, at = s.store.list(o.filter)
		return nil, at, nil
	}
	if at = s.store.since(o.resource, o.revision); at == nil {
		oldest, _ := s.store.revisions()
		return nil, nil, expired(o.revision, oldest)
	}
	return nil, at, nil
}

// refuseWatch sends a status as the only event of a stream or, for 410 where the
// test asked for it, in place of one.
func (s *Server) refuseWatch(w http.ResponseWriter, r *http.Request, st *status) {
	if st.Code == http.StatusGone && s.faults.expiresByStatus() {
		s.sendStatus(w, r, st)
		return
	}
	setHeader(w)
	s.write(r.Context(), w, encodeEvent("ERROR", mustMarshal(st)))
}

// streams reports whether the watch begins with a streaming list.
func (o listOptions) streams() bool { return o.initialEvents != nil && *o.initialEvents }

// lastBookmark is how long before its deadline a watch gets the last bookmark.
const lastBookmark = 2 * time.Second

// follow sends what happens after a moment, at the client's own pace.
func (s *Server) follow(ctx context.Context, stream *stream, o listOptions, at *change, send func([]byte)) {
	var deadline, bookmark, last <-chan time.Time
	if o.timeout > 0 {
		timer := time.NewTimer(o.timeout)
		defer timer.Stop()
		deadline = timer.C
	}
	if o.bookmarks && o.timeout > lastBookmark {
		timer := time.NewTimer(o.timeout - lastBookmark)
		defer timer.Stop()
		last = timer.C
	}
	// Bookmarks tell the version of the resource, and come only once that is
	// higher than where the watch began.
	began := max(at.revision, o.revision)
	version := began
	mark := func() {
		if version > began {
			send(encodeEvent("BOOKMARK", o.resource.bookmark(version, false)))
		}
	}
	if o.bookmarks {
		ticker := time.NewTicker(s.faults.bookmarkInterval())
		defer ticker.Stop()
		bookmark = ticker.C
	}
	for {
		if order, ok := stream.take(at.revision); ok {
			if len(order.data) > 0 {
				send(order.data)
			}
			switch order.end {
			case endClean:
				return
			case endAbrupt:
				abort()
			}
			continue
		}
		select {
		case <-at.done:
			at = at.next
			if at.revision <= o.revision {
				continue // a watch from a version yet to come is silent until then
			}
			if at.key.resource == o.resource {
				version = at.revision
			}
			if event := o.event(at); event != nil {
				send(event)
			}
		case <-stream.ordered:
		case <-bookmark:
			mark()
		case <-last:
			mark()
		case <-deadline:
			return
		case <-ctx.Done():
			abort()
		}
	}
}

// event is how a change looks to a watch with these options; nil if it is not
// about anything they select. An object whose new labels take it into or out of
// the selector is ADDED or DELETED.
func (o listOptions) event(c *change) []byte {
	was, is := o.selects(c.was), o.selects(c.is)
	switch {
	case was && is:
		return encodeEvent("MODIFIED", c.is.whole)
	case is:
		return encodeEvent("ADDED", c.is.whole)
	case was:
		return encodeEvent("DELETED", c.gone)
	}
	return nil
}

// encodeEvent joins what is JSON already: the objects may be large, and the
// watches many.
func encodeEvent(kind string, object json.RawMessage) []byte {
	return slices.Concat([]byte(`{"type":"`+kind+`","object":`), object, []byte("}\n"))
}
