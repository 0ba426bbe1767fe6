package httpbalancer

import (
	"errors"
	"io"
	"net/http"
	"sync"
)

// A requestBody keeps the body of a request sendable for as long as possible:
// net/http closes it even when nothing of it was sent, and may go on reading it
// after RoundTrip has returned. So each attempt gets an attemptBody in its place.
// A nil *requestBody is the body of a request that has none.
type requestBody struct {
	current *attemptBody
	first   attemptBody
}

// maxKept is more than net/http reads of a body before it writes anything: what
// fits in its buffers, unless a WriteBufferSize is larger.
const maxKept = 64 << 10

// newRequestBody returns nil if there is nothing to send.
func newRequestBody(req *http.Request) *requestBody {
	if req.Body == nil || req.Body == http.NoBody {
		return nil
	}
	keep := 0
	if req.GetBody == nil {
		keep = maxKept
	}
	b := &requestBody{first: attemptBody{source: req.Body, length: announcedLength(req), keep: keep}}
	b.current = &b.first
	return b
}

func announcedLength(req *http.Request) int64 {
	if req.ContentLength == 0 {
		return -1 // with a body it means unknown
	}
	return req.ContentLength
}

// rewind prepares the body for another attempt, and reports whether it could:
// nobody has read from it yet, or what was read is known and certainly was not
// sent, or the caller can make a new one.
func (b *requestBody) rewind(req *http.Request, unsent bool) bool {
	if b == nil {
		return true
	}
	old := b.current
	source := old.detach(unsent)
	if source == nil {
		if req.GetBody == nil {
			return false
		}
		var err error
		if source, err = req.GetBody(); err != nil {
			return false
		}
		old.discard()
	}
	b.current = &attemptBody{source: source, length: old.length, keep: old.keep}
	return true
}

// release says that there will be no other attempt, so that from now on the
// body is closed when net/http closes it.
func (b *requestBody) release() {
	if b != nil {
		b.current.release()
	}
}

// discard closes the body for good.
func (b *requestBody) discard() {
	if b != nil {
		b.current.discard()
	}
}

// isBad reports whether the request failed because of its own body.
func (b *requestBody) isBad() bool { return b != nil && b.current.isBad() }

// closeBody closes the body of a request that nothing was tried with, as
// http.RoundTripper has to.
func closeBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close() // nobody to tell
	}
}

var errDetached = errors.New("httpbalancer: request body is being sent to another backend")

// An attemptBody is the body in the hands of one attempt.
type attemptBody struct {
	length int64       // what the request announces, or -1; read-only
	keep   int         // how much of what was read to keep; read-only
	sent   func() bool // reports whether something of the request has been written; set before there are readers

	mu       sync.Mutex
	source   io.ReadCloser // nil once it belongs to a later attempt; guarded by mu, as are all below
	kept     []byte
	read     int64
	reading  bool // a Read is under way
	lost     bool // more was read than kept
	closed   bool // Close has been called
	released bool // closing need not wait for a later attempt any more
	done     bool // source is closed
	bad      bool // reading failed, or did not yield the announced length
	then     func()
}

func (b *attemptBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	source := b.source
	b.reading = true
	b.mu.Unlock()
	if source == nil {
		return 0, errDetached
	}
	n, err := source.Read(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reading = false
	b.read += int64(n)
	if b.lost = b.lost || len(b.kept)+n > b.keep || b.sent(); b.lost {
		b.kept = nil
	} else {
		b.kept = append(b.kept, p[:n]...)
	}
	if (err != nil && err != io.EOF) ||
		(b.length >= 0 && (b.read > b.length || err == io.EOF && b.read < b.length)) {
		b.bad = true
	}
	return n, err
}

// Close waits for release if the body can still be sent by another attempt.
func (b *attemptBody) Close() error {
	b.mu.Lock()
	b.closed = true
	if b.reading { // and may wait for this
		b.lost = true
	}
	wait := !b.released && b.replayable()
	b.mu.Unlock()
	if wait {
		return nil
	}
	return b.closeSource()
}

// replayable is called with mu held.
func (b *attemptBody) replayable() bool {
	return b.read == 0 && !b.reading && !b.lost || b.keep > 0 && !b.lost && !b.reading
}

// detach takes the source away, with what was read of it before it. It is nil if
// that is not known, or may have been sent.
func (b *attemptBody) detach(unsent bool) io.ReadCloser {
	b.mu.Lock()
	defer b.mu.Unlock()
	source := b.source
	if source == nil || b.done || !b.replayable() || b.read > 0 && !unsent {
		return nil
	}
	b.source = nil
	if b.read > 0 {
		return &replayedBody{kept: b.kept, ReadCloser: source}
	}
	return source
}

// release is the other half of Close: whichever of the two comes last closes
// the source.
func (b *attemptBody) release() {
	b.mu.Lock()
	b.released = true
	closed := b.closed
	b.mu.Unlock()
	if closed {
		b.closeSource() //nolint:errcheck // net/http has no use for it either
	}
}

func (b *attemptBody) discard() {
	b.release()
	b.Close() // nobody to tell
}

func (b *attemptBody) closeSource() error {
	b.mu.Lock()
	source, then := b.source, b.then
	if b.done {
		source = nil
	}
	b.done, b.then = true, nil
	b.mu.Unlock()
	if then != nil {
		then()
	}
	if source == nil {
		return nil
	}
	return source.Close()
}

// whenClosed calls f as soon as net/http is done with the body.
func (b *attemptBody) whenClosed(f func()) {
	b.mu.Lock()
	done := b.done
	if !done {
		b.then = f
	}
	b.mu.Unlock()
	if done {
		f()
	}
}

func (b *attemptBody) isBad() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bad
}

// A replayedBody begins with what an earlier attempt read.
type replayedBody struct {
	kept []byte
	io.ReadCloser
}

func (b *replayedBody) Read(p []byte) (int, error) {
	if len(b.kept) > 0 {
		n := copy(p, b.kept)
		b.kept = b.kept[n:]
		return n, nil
	}
	return b.ReadCloser.Read(p)
}
