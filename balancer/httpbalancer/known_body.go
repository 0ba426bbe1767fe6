package httpbalancer

import (
	"bytes"
	"io"
	"reflect"
	"strings"
)

// net/http sends the headers together with a body that is in memory, which it
// knows by its type, and others after them (go.dev/issue/22088). And it lets
// bodies write themselves that can.

// The types that net/http looks into.
var (
	nopCloserType         = reflect.TypeOf(io.NopCloser(nil))
	nopCloserWriterToType = reflect.TypeOf(io.NopCloser(struct {
		io.Reader
		io.WriterTo
	}{}))
)

// inMemory reports whether the body is one that net/http knows to be in memory
// and has the given length. Closing such a body does nothing, and nothing goes
// wrong with reading it, so nobody has to look after it. If asked to, it also
// returns what makes the body anew.
func inMemory(body io.ReadCloser, length int64, needAgain bool) (known bool, again func() (io.ReadCloser, error)) {
	if t := reflect.TypeOf(body); t != nopCloserType && t != nopCloserWriterToType {
		return false, nil
	}
	reader, _ := reflect.TypeAssert[io.Reader](reflect.ValueOf(body).Field(0))
	switch r := reader.(type) {
	case *bytes.Buffer:
		known = int64(r.Len()) == length
		if known && needAgain {
			unread := r.Bytes()
			again = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(unread)), nil }
		}
	case *bytes.Reader:
		known = int64(r.Len()) == length
		if known && needAgain {
			unread := *r
			again = func() (io.ReadCloser, error) { r := unread; return io.NopCloser(&r), nil }
		}
	case *strings.Reader:
		known = int64(r.Len()) == length
		if known && needAgain {
			unread := *r
			again = func() (io.ReadCloser, error) { r := unread; return io.NopCloser(&r), nil }
		}
	}
	return known, again
}

// An attemptWriterTo is an attemptBody whose source can write itself.
type attemptWriterTo struct{ *attemptBody }

// WriteTo implements io.WriterTo.
func (b attemptWriterTo) WriteTo(w io.Writer) (int64, error) {
	source := b.begin()
	if source == nil {
		return 0, errDetached
	}
	watched := &b.watched
	watched.w, watched.body = w, b.attemptBody
	n, err := source.(io.WriterTo).WriteTo(watched)
	b.mu.Lock()
	defer b.mu.Unlock()
	end := err
	switch {
	case err == nil:
		end = io.EOF
	case watched.failed: // which is no fault of the body
		end = nil
	}
	b.endReadLocked(end)
	return n, err
}

// A watchedWriter tells a body what is written of it.
type watchedWriter struct {
	w      io.Writer
	body   *attemptBody
	failed bool
}

func (w *watchedWriter) Write(p []byte) (int, error) {
	w.body.mu.Lock()
	w.body.tookLocked(p)
	w.body.mu.Unlock()
	n, err := w.w.Write(p)
	w.failed = w.failed || err != nil
	return n, err
}
