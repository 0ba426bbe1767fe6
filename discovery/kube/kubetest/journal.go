package kubetest

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"
)

// Request is a request that reached the server, whatever became of it.
type Request struct {
	Time      time.Time
	Method    string
	Path      string
	Verb      string // get, list or watch; "" for what the server does not do
	Resource  string // services, endpointslices, nodes; "" for an unknown path
	Namespace string // "" for all namespaces
	Name      string // of the one object asked for, if any
	Query     url.Values
	Header    http.Header
}

func newRequest(r *http.Request, to route) Request {
	request := Request{
		Time:   time.Now(),
		Method: r.Method,
		Path:   r.URL.Path,
		Query:  r.URL.Query(),
		Header: r.Header.Clone(),
	}
	if to.resource == nil {
		return request
	}
	request.Resource, request.Namespace, request.Name = to.resource.name, to.namespace, to.name
	if r.Method != http.MethodGet {
		return request
	}
	switch {
	case to.name != "":
		request.Verb = Get
		return request
	case queryBool(request.Query, "watch"):
		request.Verb = Watch
	default:
		request.Verb = List
	}
	// A list of one name counts as a request for that object, as in
	// k8s.io/apiserver's RequestInfo: RBAC rules can then name it.
	fields, _ := parseFieldSelector(request.Query.Get("fieldSelector"))
	for _, field := range fields {
		if field.key == "metadata.name" && field.operator == "=" {
			request.Name = field.value
		}
	}
	return request
}

func (r Request) is(verb, resource string) bool {
	return (verb == Any || verb == r.Verb) && (resource == Any || resource == r.Resource)
}

// Requests is every request so far, in the order they came.
func (s *Server) Requests() []Request {
	s.journal.mu.Lock()
	defer s.journal.mu.Unlock()
	return slices.Clone(s.journal.requests)
}

// Count is how many requests came with this verb for this resource, either of
// which may be [Any].
func (s *Server) Count(verb, resource string) int {
	count, _ := s.journal.count(verb, resource)
	return count
}

// Watches is how many watches are running: accepted, and neither ended nor told
// to end.
func (s *Server) Watches() int {
	count, _ := s.journal.watches()
	return count
}

// WaitRequests waits until [Server.Count] is at least n, or else for ctx to end:
// the error then says how many there are.
func (s *Server) WaitRequests(ctx context.Context, verb, resource string, n int) error {
	for {
		count, changed := s.journal.count(verb, resource)
		if count >= n {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("kubetest: waiting for %d requests to %s %s, of which %d came: %w", n, verb, resource, count, context.Cause(ctx))
		}
	}
}

// WaitWatches waits until [Server.Watches] is n, or else for ctx to end: the
// error then says how many there are. What a test changes from then on reaches
// those watches as events.
func (s *Server) WaitWatches(ctx context.Context, n int) error {
	for {
		count, changed := s.journal.watches()
		if count == n {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("kubetest: waiting for %d watches, of which %d are running: %w", n, count, context.Cause(ctx))
		}
	}
}

// journal knows what clients have done and are doing.
type journal struct {
	mu       sync.Mutex
	requests []Request // guarded by mu, as are those below
	streams  map[*stream]struct{}
	changed  chan struct{} // closed, and replaced, at each change
}

func newJournal() *journal {
	return &journal{streams: make(map[*stream]struct{}), changed: make(chan struct{})}
}

func (j *journal) note(r Request) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.requests = append(j.requests, r)
	j.announce()
}

func (j *journal) openStream(r *resource, cancel context.CancelFunc) *stream {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := newStream(r, cancel)
	j.streams[s] = struct{}{}
	j.announce()
	return s
}

func (j *journal) closeStream(s *stream) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.streams, s)
	j.announce()
}

// running are the streams there are now.
func (j *journal) running() []*stream {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Collect(maps.Keys(j.streams))
}

// dismiss is running, for those about to be ended: they no longer count, so
// that a test which waits for watches waits for new ones.
func (j *journal) dismiss() []*stream {
	j.mu.Lock()
	defer j.mu.Unlock()
	ended := slices.Collect(maps.Keys(j.streams))
	clear(j.streams)
	j.announce()
	return ended
}

func (j *journal) count(verb, resource string) (int, <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	count := 0
	for _, r := range j.requests {
		if r.is(verb, resource) {
			count++
		}
	}
	return count, j.changed
}

func (j *journal) watches() (int, <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.streams), j.changed
}

// announce wakes those who wait. The caller holds mu.
func (j *journal) announce() {
	close(j.changed)
	j.changed = make(chan struct{})
}
