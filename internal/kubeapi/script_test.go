package kubeapi

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// An answer is what a scripted API server says to one request.
type answer struct {
	status int // 0: 200
	header http.Header
	body   string
	then   ending
	err    error // in place of an answer
	mute   bool  // no answer at all
}

// An ending is what comes after the body.
type ending int

const (
	eof  ending = iota // the answer ends
	cut                // the connection breaks
	hang               // nothing more comes
)

// A request is what a ListWatch asked of it.
type request struct {
	after time.Duration // since the start
	query url.Values
}

func (r request) isWatch() bool { return r.query.Get("watch") != "" }

// isInquiry reports whether it asks for a list no older than a silent watch.
func (r request) isInquiry() bool {
	return !r.isWatch() && r.query.Get("resourceVersionMatch") == "NotOlderThan"
}
func (r request) isStreaming() bool { return r.query.Get("sendInitialEvents") != "" }

// kinds is what was asked for, on one line.
func (tr *transcript) kinds() string {
	var kinds []string
	for _, r := range tr.requests {
		switch {
		case r.isStreaming():
			kinds = append(kinds, "streaming")
		case r.isWatch():
			kinds = append(kinds, "watch")
		default:
			kinds = append(kinds, "list")
		}
	}
	return strings.Join(kinds, ", ")
}

// A transcript is what happened while a ListWatch ran against a script. It
// implements Handler.
type transcript struct {
	start    time.Time
	requests []request // but for inquiries
	asked    []request // the inquiries
	inquiry  []answer  // the answers to those, in turn; to others the server has nothing to say
	calls    []string
	failures []error
}

func (tr *transcript) Replace(objects []*EndpointSlice) {
	var names []string
	for _, s := range objects {
		names = append(names, s.Name)
	}
	slices.Sort(names)
	tr.calls = append(tr.calls, strings.Join(append([]string{"replace"}, names...), " "))
}

func (tr *transcript) Apply(kind string, slice *EndpointSlice) {
	tr.calls = append(tr.calls, kind+" "+slice.Name)
}

func (tr *transcript) Failed(err error) {
	tr.calls = append(tr.calls, "failed")
	tr.failures = append(tr.failures, err)
}

func (tr *transcript) Healthy() { tr.calls = append(tr.calls, "healthy") }

// text is the calls on one line.
func (tr *transcript) text() string { return strings.Join(tr.calls, ", ") }

// lists are the plain lists.
func (tr *transcript) lists() (lists []request) {
	for _, r := range tr.requests {
		if !r.isWatch() {
			lists = append(lists, r)
		}
	}
	return lists
}

// play runs a ListWatch for so long, in virtual time, against a server that
// gives the answers in turn and after them falls silent. The server is known to
// have no streaming lists.
func play(t *testing.T, length time.Duration, answers ...answer) *transcript {
	t.Helper()
	return perform(t, length, func(lw *ListWatch[*EndpointSlice]) { lw.Client.streaming.learn(errNoStreaming) }, answers)
}

// playStreaming is play with a server of which nothing is known.
func playStreaming(t *testing.T, length time.Duration, answers ...answer) *transcript {
	t.Helper()
	return perform(t, length, func(*ListWatch[*EndpointSlice]) {}, answers)
}

func perform(t *testing.T, length time.Duration, prepare func(*ListWatch[*EndpointSlice]), answers []answer, inquiry ...answer) *transcript {
	t.Helper()
	tr := &transcript{inquiry: inquiry}
	synctest.Test(t, func(t *testing.T) {
		tr.start = time.Now()
		client, err := NewClient(Config{Host: "http://api", HTTPClient: &http.Client{
			Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
				n, r := len(tr.requests), request{time.Since(tr.start), req.URL.Query()}
				if r.isInquiry() {
					tr.asked = append(tr.asked, r)
					if len(tr.asked) > len(tr.inquiry) {
						return answer{status: http.StatusForbidden}.give(req)
					}
					return tr.inquiry[len(tr.asked)-1].give(req)
				}
				tr.requests = append(tr.requests, r)
				if n >= len(answers) {
					return answer{then: hang}.give(req)
				}
				return answers[n].give(req)
			}),
		}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), length)
		defer cancel()
		lw := ListWatch[*EndpointSlice]{
			Client:        client,
			Path:          EndpointSlicesPath("kiada"),
			LabelSelector: LabelServiceName + "=quiz",
			MaxEventBytes: 4096,
		}
		prepare(&lw)
		lw.Run(ctx, tr)
	})
	return tr
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func (a answer) give(req *http.Request) (*http.Response, error) {
	if a.mute {
		<-req.Context().Done()
		return nil, req.Context().Err()
	}
	if a.err != nil {
		return nil, a.err
	}
	if a.status == 0 {
		a.status = http.StatusOK
	}
	body := &scriptedBody{Reader: strings.NewReader(a.body), then: a.then, ctx: req.Context()}
	return &http.Response{StatusCode: a.status, Header: a.header, Body: body, Request: req}, nil
}

type scriptedBody struct {
	*strings.Reader
	then ending
	ctx  context.Context
}

func (b *scriptedBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	switch {
	case err == nil || b.then == eof:
		return n, err
	case b.then == cut:
		return n, io.ErrUnexpectedEOF
	}
	<-b.ctx.Done()
	return n, b.ctx.Err()
}

func (b *scriptedBody) Close() error { return nil }

// listOf is a list with a version and slices of these names.
func listOf(version string, names ...string) answer {
	var items []string
	for _, name := range names {
		items = append(items, object(name, version))
	}
	return answer{body: fmt.Sprintf(`{"metadata":{"resourceVersion":%q},"items":[%s]}`, version, strings.Join(items, ","))}
}

func object(name, version string) string {
	return fmt.Sprintf(`{"metadata":{"name":%q,"resourceVersion":%q}}`, name, version)
}

func eventOf(kind, name, version string) string {
	return fmt.Sprintf(`{"type":%q,"object":%s}`+"\n", kind, object(name, version))
}

// endOf is the bookmark at the end of a streaming list.
func endOf(version string) string {
	return fmt.Sprintf(`{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":%q,"annotations":{"k8s.io/initial-events-end":"true"}}}}`+"\n", version)
}

// streamOf is a watch that sends this and ends in that way.
func streamOf(then ending, events ...string) answer {
	return answer{body: strings.Join(events, ""), then: then}
}

func statusOf(code int, reason, message string) string {
	return fmt.Sprintf(`{"kind":"Status","code":%d,"reason":%q,"message":%q}`, code, reason, message)
}
