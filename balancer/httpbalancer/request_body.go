package httpbalancer

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
)

// A requestBody keeps the body of a request sendable for as long as possible:
// http.Transport closes it even when it could not connect, and may go on reading
// it after RoundTrip has returned. So each attempt gets an attemptBody in its
// place. A nil *requestBody is the body of a request that has none.
type requestBody struct {
	current *attemptBody
}

// newRequestBody returns nil if there is nothing to send.
func newRequestBody(req *http.Request) *requestBody {
	if req.Body == nil || req.Body == http.NoBody {
		return nil
	}
	return &requestBody{&attemptBody{source: req.Body, length: announcedLength(req)}}
}

func announcedLength(req *http.Request) int64 {
	if req.ContentLength == 0 {
		return -1 // with a body it means unknown
	}
	return req.ContentLength
}

// attempt returns what the present attempt is to send.
func (b *requestBody) attempt() io.ReadCloser { return b.current }

// rewind prepares the body for another attempt, and reports whether it could:
// either nobody has read from it yet, or the caller can make a new one.
func (b *requestBody) rewind(req *http.Request) bool {
	if b == nil {
		return true
	}
	old := b.current
	source := old.source
	if !old.state.CompareAndSwap(fresh, detached) {
		if req.GetBody == nil {
			return false
		}
		var err error
		if source, err = req.GetBody(); err != nil {
			return false
		}
	}
	b.current = &attemptBody{source: source, length: old.length}
	return true
}

// release says that there will be no other attempt, so that from now on the
// body is closed when http.Transport closes it.
func (b *requestBody) release() {
	if b != nil {
		b.current.release()
	}
}

// discard closes a body that no attempt has been made with.
func (b *requestBody) discard() {
	if b != nil {
		b.release()
		b.current.Close() // nobody to tell
	}
}

// isBad reports whether the request failed because of its own body.
func (b *requestBody) isBad() bool { return b != nil && b.current.bad.Load() }

// closeBody closes the body of a request that nothing was tried with, as
// http.RoundTripper has to.
func closeBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close() // nobody to tell
	}
}

// The states of an attemptBody.
const (
	fresh    = iota // nobody has read from it; closing it has to wait
	touched         // it belongs to its attempt alone
	detached        // it belongs to a later attempt; this one has lost it
)

var errDetached = errors.New("httpbalancer: request body is being sent to another backend")

// An attemptBody is the body in the hands of one attempt.
type attemptBody struct {
	source io.ReadCloser
	length int64 // what the request announces, or -1
	state  atomic.Int32
	closed atomic.Bool // Close has been called
	once   sync.Once   // closes source
	read   int64       // owned by the reader
	bad    atomic.Bool // reading failed, or did not yield the announced length
}

func (b *attemptBody) Read(p []byte) (int, error) {
	if !b.state.CompareAndSwap(fresh, touched) && b.state.Load() == detached {
		return 0, errDetached
	}
	n, err := b.source.Read(p)
	b.read += int64(n)
	if (err != nil && err != io.EOF) ||
		(b.length >= 0 && (b.read > b.length || err == io.EOF && b.read < b.length)) {
		b.bad.Store(true)
	}
	return n, err
}

func (b *attemptBody) Close() error {
	b.closed.Store(true)
	if b.state.Load() == touched {
		return b.closeSource()
	}
	return nil
}

// release is the other half of Close: whichever of the two comes last closes
// the source.
func (b *attemptBody) release() {
	b.state.CompareAndSwap(fresh, touched)
	if b.closed.Load() {
		b.closeSource() //nolint:errcheck // http.Transport has no use for it either
	}
}

func (b *attemptBody) closeSource() (err error) {
	b.once.Do(func() { err = b.source.Close() })
	return err
}
