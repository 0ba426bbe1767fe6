package httpbalancer

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// A requestBody keeps the body of a request sendable for as long as possible:
// net/http closes it even when nothing of it was sent, and may go on reading it
// after RoundTrip has returned. So each attempt gets an attemptBody in its place,
// unless net/http knows the body by its type and sends it better than others.
// A nil *requestBody is the body of a request that has none.
type requestBody struct {
	getBody func() (io.ReadCloser, error) // makes it anew; nil if nobody can
	memory  bool                          // it lies in memory, as far as net/http can see
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
	b := &requestBody{getBody: req.GetBody, first: attemptBody{source: req.Body, length: announcedLength(req)}}
	b.current = &b.first
	var again func() (io.ReadCloser, error)
	if b.memory, again = inMemory(req.Body, req.ContentLength, req.GetBody == nil); again != nil {
		b.getBody = again
	}
	if b.getBody == nil {
		b.first.keep = maxKept
	}
	return b
}

func announcedLength(req *http.Request) int64 {
	if req.ContentLength == 0 {
		return -1 // with a body it means unknown
	}
	return req.ContentLength
}

// lend returns the body for an attempt that has its connection.
func (b *requestBody) lend(x *exchange, req *http.Request) io.ReadCloser {
	if b.memory && !x.conn.http2 {
		b.current.give()
		return b.current.source
	}
	x.request = b.current
	x.request.callerGone, x.request.cancel = req.Context().Done(), req.Cancel //nolint:staticcheck // deprecated, yet http.Client sets it
	if !x.conn.http2 && (x.reused || x.conn.lane.key.host == "") {
		// What has been sent may have been processed. Otherwise the server may still
		// say that it was not: by GOAWAY, by REFUSED_STREAM, or by an alert of TLS.
		x.request.sent = x.hasSent
	}
	if _, ok := b.current.source.(io.WriterTo); ok {
		return attemptWriterTo{b.current}
	}
	return b.current
}

// rewind prepares the body for another attempt, and reports whether it could:
// nobody has read from it yet, or what was read is known and certainly was not
// processed, or it can be made anew.
func (b *requestBody) rewind(unprocessed bool) bool {
	if b == nil {
		return true
	}
	old := b.current
	source := old.detach(unprocessed)
	if source == nil {
		if b.getBody == nil {
			return false
		}
		var err error
		if source, err = b.getBody(); err != nil {
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

// closeGrace is how long Close waits for a Read to return, so that what it reads
// is not lost for the next attempt, unless the caller gives up.
const closeGrace = 50 * time.Millisecond

// An attemptBody is the body in the hands of one attempt.
type attemptBody struct {
	length int64       // what the request announces, or -1; read-only
	keep   int         // how much of what was read to keep; read-only
	sent   func() bool // reports whether what was read has been sent, and need not be kept; nil: never; set before there are readers, as are the next two

	callerGone, cancel <-chan struct{} // closed when the caller has given up

	mu       sync.Mutex
	source   io.ReadCloser // nil once it belongs to a later attempt; guarded by mu, as are all below
	kept     []byte
	read     int64
	reading  bool          // a Read is under way
	idle     chan struct{} // closed when it has returned; nil if nobody waits for that
	lost     bool          // more was read than kept, or somebody else reads it
	closed   bool          // Close has been called
	released bool          // closing need not wait for a later attempt any more
	done     bool          // source is closed
	bad      bool          // reading failed, or did not yield the announced length
	then     func()
}

// give lets net/http have the source itself.
func (b *attemptBody) give() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lost = true
}

// begin returns the source to read from, or nil.
func (b *attemptBody) begin() io.ReadCloser {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.done || b.source == nil {
		return nil
	}
	b.reading = true
	return b.source
}

func (b *attemptBody) Read(p []byte) (int, error) {
	source := b.begin()
	if source == nil {
		return 0, errDetached
	}
	n, err := source.Read(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.took(p[:n])
	b.endReadLocked(err)
	return n, err
}

// took keeps what was read, if it may be needed again. It is called with mu held.
func (b *attemptBody) took(p []byte) {
	b.read += int64(len(p))
	if b.lost = b.lost || len(b.kept)+len(p) > b.keep || b.sent != nil && b.sent(); b.lost {
		b.kept = nil
	} else {
		b.kept = append(b.kept, p...)
	}
}

func (b *attemptBody) endReadLocked(err error) {
	b.reading = false
	if b.idle != nil {
		close(b.idle)
		b.idle = nil
	}
	ended := errors.Is(err, io.EOF)
	if (err != nil && !ended) || (b.length >= 0 && (b.read > b.length || ended && b.read < b.length)) {
		b.bad = b.bad || !b.done // or it failed because it was closed
	}
}

// Close waits for release if the body can still be sent by another attempt.
func (b *attemptBody) Close() error {
	b.mu.Lock()
	b.closed = true
	if b.reading && !b.lost && !b.released {
		b.awaitReadLocked()
	}
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

// awaitReadLocked waits for a moment for the Read that is under way. It lets go of
// mu meanwhile.
func (b *attemptBody) awaitReadLocked() {
	if b.idle == nil {
		b.idle = make(chan struct{})
	}
	idle := b.idle
	b.mu.Unlock()
	timer := time.NewTimer(closeGrace)
	select {
	case <-idle:
	case <-timer.C:
	case <-b.callerGone:
	case <-b.cancel:
	}
	timer.Stop()
	b.mu.Lock()
}

// replayable is called with mu held.
func (b *attemptBody) replayable() bool {
	return !b.lost && !b.reading && (b.read == 0 || b.keep > 0)
}

// detach takes the source away, with what was read of it before it. It is nil if
// that is not known, or may have been processed.
func (b *attemptBody) detach(unprocessed bool) io.ReadCloser {
	b.mu.Lock()
	defer b.mu.Unlock()
	source := b.source
	if source == nil || b.done || !b.replayable() || b.read > 0 && !unprocessed {
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
	b.kept = nil
	b.lost = b.lost || b.read > 0
	closed := b.closed
	b.mu.Unlock()
	if closed {
		b.closeSource() //nolint:errcheck // net/http has no use for it either
	}
}

// discard closes the source, whoever may be reading it.
func (b *attemptBody) discard() {
	if b != nil {
		b.closeSource() //nolint:errcheck // nobody to tell
	}
}

// abort is discard for a caller that is not to wait. Some bodies, those of an
// http.Server for one, wait in Close for a Read.
func (b *attemptBody) abort() {
	if b == nil {
		return
	}
	b.mu.Lock()
	reading := b.reading
	b.mu.Unlock()
	if reading {
		go b.discard()
		return
	}
	b.discard()
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
