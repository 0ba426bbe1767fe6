package kubeapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// A flaky is an API server in memory with every fault there is. It implements
// http.RoundTripper, so that schedules of faults run in virtual time.
type flaky struct {
	mu      sync.Mutex
	random  *rand.Rand        // guarded by mu, as are all below
	objects map[string]string // their versions by name
	history []moment          // from the oldest moment that is remembered to now
	count   uint32            // of all moments
	seen    map[string]bool   // every state there has been, as text
	undone  map[string]bool   // versions that are yet to come, as they were before a backup
	watches map[*flakyWatch]bool
	changed chan struct{} // closed and replaced when a fault comes or goes

	down, stalled bool
	failures      int // so many requests are answered with a status of failure
	incomplete    int // so many lists, of either kind, break off
	listing       listing
	requests      int
}

// A moment is the state after a change, and the change.
type moment struct {
	version string
	objects map[string]string
	event   string
}

// A listing is how a server answers a request for a streaming list.
type listing int

const (
	streams listing = iota
	refuses
	ignores
)

func newFlaky(random *rand.Rand) *flaky {
	f := &flaky{
		random:  random,
		objects: make(map[string]string),
		seen:    make(map[string]bool),
		undone:  make(map[string]bool),
		watches: make(map[*flakyWatch]bool),
		changed: make(chan struct{}),
	}
	f.remember(f.nextVersion(), "")
	return f
}

// do changes the server and wakes whoever waits for that.
func (f *flaky) do(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
	close(f.changed)
	f.changed = make(chan struct{})
}

// text is the state now.
func (f *flaky) text() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return text(f.objects)
}

// was reports whether there has been a state with this text.
func (f *flaky) was(text string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seen[text]
}

// text is a state on one line.
func text(objects map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(objects)) {
		fmt.Fprintf(&b, "%s=%s ", name, objects[name])
	}
	return b.String()
}

// The methods from here on are called with mu held, but for RoundTrip and those
// of flakyWatch.

// nextVersion is the version of the next moment. Nothing can be told from it.
func (f *flaky) nextVersion() string {
	f.count++
	return fmt.Sprintf("%08x", f.count*2654435761)
}

// remember makes an event the last of the history.
func (f *flaky) remember(version, event string) {
	f.seen[text(f.objects)] = true
	f.history = append(f.history, moment{version, maps.Clone(f.objects), event})
	f.send(event)
}

// change adds, modifies or deletes one object.
func (f *flaky) change() {
	name, version := string(rune('a'+f.random.IntN(6))), f.nextVersion()
	_, exists := f.objects[name]
	switch {
	case !exists:
		f.objects[name] = version
		f.remember(version, eventOf(Added, name, version))
	case f.random.IntN(2) == 0:
		f.objects[name] = version
		f.remember(version, eventOf(Modified, name, version))
	default:
		delete(f.objects, name)
		f.remember(version, eventOf(Deleted, name, version))
	}
}

func (f *flaky) now() moment { return f.history[len(f.history)-1] }

// forget makes now the oldest moment that a watch can start from.
func (f *flaky) forget() { f.history = f.history[len(f.history)-1:] }

// setBack puts the server back to a moment that it remembers.
func (f *flaky) setBack() {
	f.end(io.ErrUnexpectedEOF)
	keep := 1 + f.random.IntN(len(f.history))
	for _, m := range f.history[keep:] {
		f.undone[m.version] = true
	}
	f.history = f.history[:keep]
	f.objects = maps.Clone(f.now().objects)
}

// send writes to all watches.
func (f *flaky) send(text string) {
	for w := range f.watches {
		w.pending += text
	}
}

// end ends all watches after what they have been sent.
func (f *flaky) end(err error) {
	for w := range f.watches {
		w.end = err
	}
	clear(f.watches)
}

// RoundTrip implements http.RoundTripper.
func (f *flaky) RoundTrip(req *http.Request) (*http.Response, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.requests++; f.requests > 10_000 {
		panic("the server is asked in a tight loop")
	}
	for f.stalled {
		if err := f.waitForChange(req.Context()); err != nil {
			return nil, err
		}
	}
	if f.down {
		return nil, errors.New("connection refused")
	}
	if f.failures > 0 {
		f.failures--
		codes := []int{401, 403, 404, 429, 500, 503, 504}
		return answer{status: codes[f.random.IntN(len(codes))], header: http.Header{"Retry-After": {"1"}}}.give(req)
	}
	query := req.URL.Query()
	switch {
	case !query.Has("watch") && f.undone[query.Get("resourceVersion")]:
		return tooLarge(query.Get("resourceVersion")).give(req)
	case !query.Has("watch"):
		return f.list(query).give(req)
	case query.Has("sendInitialEvents") && f.listing == refuses:
		return notSupported.give(req)
	}
	return f.watch(req, query)
}

// waitForChange lets go of mu while it waits.
func (f *flaky) waitForChange(ctx context.Context) error {
	changed := f.changed
	f.mu.Unlock()
	defer f.mu.Lock()
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// read is the moment that a list shows: the last or, if any will do, one that a
// server which lags behind takes for the last.
func (f *flaky) read(query url.Values) int {
	if query.Get("resourceVersion") == "0" {
		return f.random.IntN(len(f.history))
	}
	return len(f.history) - 1
}

func (f *flaky) list(query url.Values) answer {
	at := f.history[f.read(query)]
	var items []string
	for name, version := range at.objects {
		items = append(items, object(name, version))
	}
	body := fmt.Sprintf(`{"items":[%s],"metadata":{"resourceVersion":%q}}`, strings.Join(items, ","), at.version)
	if f.breaksOff() {
		return answer{body: body[:f.random.IntN(len(body))], then: cut}
	}
	return answer{body: body}
}

func (f *flaky) breaksOff() bool {
	f.incomplete--
	return f.incomplete >= 0
}

func (f *flaky) watch(req *http.Request, query url.Values) (*http.Response, error) {
	w := &flakyWatch{server: f, ctx: req.Context()}
	from, end := f.read(query), -1
	if query.Has("sendInitialEvents") {
		breaksOff := f.breaksOff()
		for name, version := range f.history[from].objects {
			if breaksOff && f.random.IntN(3) == 0 {
				break
			}
			w.pending += eventOf(Added, name, version)
		}
		if breaksOff {
			w.end = []error{io.EOF, io.ErrUnexpectedEOF}[f.random.IntN(2)]
			return w.response(req), nil
		}
		if f.listing == streams { // changes may come before the end of the list
			end = from + f.random.IntN(len(f.history)-from)
		}
	} else {
		from = slices.IndexFunc(f.history, func(m moment) bool { return m.version == query.Get("resourceVersion") })
	}
	if f.undone[query.Get("resourceVersion")] { // silence, until it gets there
		return streamOf(hang).give(req)
	}
	if from < 0 {
		expired := statusOf(410, "Expired", "too old")
		if f.random.IntN(2) == 0 {
			return answer{status: http.StatusGone, body: expired}.give(req)
		}
		return streamOf(hang, fmt.Sprintf(`{"type":"ERROR","object":%s}`, expired)).give(req)
	}
	for i, m := range f.history[from:] {
		if i > 0 { // its own event has been before it
			w.pending += m.event
		}
		if from+i == end {
			w.pending += endOf(m.version)
		}
	}
	f.watches[w] = true
	return w.response(req), nil
}

// A flakyWatch is the body of a watch.
type flakyWatch struct {
	server *flaky
	ctx    context.Context

	pending string // guarded by server.mu, as are those below
	end     error
	dead    bool // nothing comes any more, and nobody says so
}

func (w *flakyWatch) response(req *http.Request) *http.Response {
	return &http.Response{StatusCode: http.StatusOK, Body: w, Request: req}
}

func (w *flakyWatch) Read(p []byte) (int, error) {
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	for {
		switch {
		case w.ctx.Err() != nil:
			return 0, w.ctx.Err()
		case w.dead || w.server.stalled:
		case w.pending != "":
			n := copy(p, w.pending[:1+w.server.random.IntN(len(w.pending))])
			w.pending = w.pending[n:]
			return n, nil
		case w.end != nil:
			return 0, w.end
		}
		if err := w.server.waitForChange(w.ctx); err != nil {
			return 0, err
		}
	}
}

func (w *flakyWatch) Close() error {
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	delete(w.server.watches, w)
	return nil
}
