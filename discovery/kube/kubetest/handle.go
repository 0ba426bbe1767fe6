package kubetest

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// route is what a path asks for.
type route struct {
	resource  *resource // nil: nothing the server has
	namespace string
	name      string
}

// parseRoute reads /ROOT/PLURAL and /ROOT/namespaces/NS/PLURAL[/NAME] or, of
// what is in no namespace, /ROOT/PLURAL[/NAME].
func parseRoute(path string) route {
	for _, res := range []*resource{serviceResource, sliceResource, nodeResource} {
		rest, found := strings.CutPrefix(path, res.root)
		if !found {
			continue
		}
		parts := strings.Split(rest, "/")
		switch {
		case len(parts) == 1 && parts[0] == res.name:
			return route{resource: res}
		case res.ofCluster && len(parts) == 2 && parts[0] == res.name && parts[1] != "":
			return route{resource: res, name: parts[1]}
		case res.ofCluster:
		case len(parts) < 3 || parts[0] != "namespaces" || parts[1] == "" || parts[2] != res.name:
		case len(parts) == 3:
			return route{resource: res, namespace: parts[1]}
		case len(parts) == 4 && parts[3] != "":
			return route{resource: res, namespace: parts[1], name: parts[3]}
		}
	}
	return route{}
}

// handle answers one request, if no fault forbids it.
func (s *Server) handle(w http.ResponseWriter, r *http.Request) {
	to := parseRoute(r.URL.Path)
	request := newRequest(r, to)
	s.journal.note(request)

	if !s.faults.hold(r.Context()) {
		abort()
	}
	if st := s.refusal(request, to); st != nil {
		s.sendStatus(w, r, st)
		return
	}
	if request.Verb == Get {
		s.get(w, r, to)
		return
	}
	options, err := parseListOptions(filter{resource: to.resource, namespace: to.namespace}, r.URL.Query())
	if err != nil {
		s.sendStatus(w, r, badRequest(err))
		return
	}
	if st := options.validate(s.faults.streamingLists()); st != nil {
		s.sendStatus(w, r, st)
		return
	}
	if options.watch {
		s.watch(w, r, options)
	} else {
		s.list(w, r, options)
	}
}

// refusal is why a request is not answered, in a real server's order: failures,
// authentication, authorization, and only then what it asks for.
func (s *Server) refusal(request Request, to route) *status {
	if st := s.faults.failure(); st != nil {
		return st
	}
	if !s.faults.authenticates(request.Header.Get("Authorization")) {
		return unauthorized()
	}
	switch {
	case to.resource == nil:
		return noSuchResource()
	case request.Method != http.MethodGet:
		return methodNotAllowed()
	case s.faults.forbids(request.Verb, request.Resource):
		return forbidden(request, to.resource)
	}
	return nil
}

func (s *Server) get(w http.ResponseWriter, r *http.Request, to route) {
	found, ok := s.store.get(key(to))
	if !ok {
		s.sendStatus(w, r, notFound(to.resource, to.name))
		return
	}
	s.sendJSON(w, r, http.StatusOK, found.whole)
}

// objectList is the answer to a LIST.
type objectList struct {
	typeMeta
	Metadata struct {
		ResourceVersion string `json:"resourceVersion"`
	} `json:"metadata"`
	Items []json.RawMessage `json:"items"`
}

func (s *Server) list(w http.ResponseWriter, r *http.Request, o listOptions) {
	if st := s.await(r.Context(), o.revision); st != nil {
		s.sendStatus(w, r, st)
		return
	}
	records, at := s.store.list(o.filter)
	if o.match == "Exact" && o.revision != at.revision {
		// As though it had been compacted: only the present can be listed.
		s.sendStatus(w, r, expired(o.revision, at.revision))
		return
	}
	list := objectList{
		typeMeta: typeMeta{Kind: o.resource.kind + "List", APIVersion: o.resource.apiVersion},
		Items:    []json.RawMessage{},
	}
	list.Metadata.ResourceVersion = strconv.FormatInt(at.revision, 10)
	for _, record := range records {
		list.Items = append(list.Items, record.item)
	}
	s.sendJSON(w, r, http.StatusOK, mustMarshal(list))
}

// tooLargeAfter is for how long a list of a revision yet to come is put off.
const tooLargeAfter = 3 * time.Second

// await waits until there is a revision, and says so if it does not come.
func (s *Server) await(ctx context.Context, revision int64) *status {
	ctx, cancel := context.WithTimeout(ctx, tooLargeAfter)
	defer cancel()
	for at := s.store.now(); at.revision < revision; at = s.store.now() {
		select {
		case <-at.done:
		case <-ctx.Done():
			return tooLarge(revision, at.revision)
		}
	}
	return nil
}

func (s *Server) sendStatus(w http.ResponseWriter, r *http.Request, st *status) {
	if st.Details != nil && st.Details.RetryAfterSeconds > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(st.Details.RetryAfterSeconds))
	}
	s.sendJSON(w, r, st.Code, mustMarshal(st))
}

func (s *Server) sendJSON(w http.ResponseWriter, r *http.Request, code int, body []byte) {
	setHeader(w)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)+1))
	w.WriteHeader(code)
	if !s.write(r.Context(), w, append(slices.Clip(body), '\n')) {
		abort()
	}
}

func setHeader(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-cache, private")
}

// write sends bytes at the pace that the faults allow, and flushes. It reports
// whether they were sent before ctx ended.
func (s *Server) write(ctx context.Context, w http.ResponseWriter, b []byte) bool {
	flusher := http.NewResponseController(w)
	for len(b) > 0 {
		n, pause := s.faults.pace(len(b))
		if !s.faults.pass(ctx) {
			return false
		}
		if _, err := w.Write(b[:n]); err != nil {
			return false
		}
		if err := flusher.Flush(); err != nil {
			return false
		}
		if b = b[n:]; len(b) > 0 && !sleep(ctx, pause) {
			return false
		}
	}
	return true
}

// sleep reports whether it slept to the end.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// abort ends a handler and its stream with no proper end, as net/http has it.
func abort() {
	panic(http.ErrAbortHandler)
}
