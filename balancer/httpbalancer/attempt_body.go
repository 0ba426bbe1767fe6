package httpbalancer

import (
	"errors"
	"io"
	"sync"
	"time"
)

var errDetached = errors.New("httpbalancer: request body is being sent to another backend")

// closeGrace is how long Close waits for a Read to return, so that what it reads
// is not lost for the next attempt, unless the caller gives up.
const closeGrace = 50 * time.Millisecond

// An attemptBody is the body in the hands of one attempt.
type attemptBody struct {
	length int64    // what the request announces, or -1; read-only
	keep   int      // how much of what was read to keep; read-only
	sentBy *attempt // when it has sent something, what was read need not be kept; nil: always keep; set before there are readers, as are the next two

	callerGone, cancel <-chan struct{} // closed when the caller has given up

	watched watchedWriter // of the one WriteTo, if there is one

	mu       sync.Mutex
	source   io.ReadCloser // nil once it belongs to a later attempt; guarded by mu, as are all below
	shared   *sharedReader // reads the source; nil if the attempt does that itself
	kept     []byte        // what has been read of the source, by this attempt and those before it
	at       int           // how much of kept this attempt has read
	read     int64         // by this attempt, of kept and of the source
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

// share lets go of a Read when the attempt ends during it. The next attempt gets what
// it yields.
func (b *attemptBody) share() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.shared == nil {
		b.shared = newSharedReader(b.source)
		b.shared.take(b)
	}
}

// writesItself reports whether all that is to be sent is still in the source.
func (b *attemptBody) writesItself() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.shared == nil && len(b.kept) == 0
}

// begin returns the source to read from, or nil.
func (b *attemptBody) begin() io.ReadCloser {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.beginLocked()
}

func (b *attemptBody) beginLocked() io.ReadCloser {
	if b.done || b.closed || b.source == nil {
		return nil
	}
	b.reading = true
	return b.source
}

func (b *attemptBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	source, shared := b.beginLocked(), b.shared
	if source == nil {
		b.mu.Unlock()
		return 0, errDetached
	}
	if n := copy(p, b.kept[b.at:]); n > 0 {
		defer b.mu.Unlock()
		b.tookKeptLocked(n)
		b.endReadLocked(nil)
		return n, nil
	}
	b.mu.Unlock()
	var n int
	var err error
	if shared != nil {
		n, err = shared.read(p, b)
	} else {
		n, err = source.Read(p)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tookLocked(p[:n])
	if errors.Is(err, errDetached) { // which is no fault of the body
		b.endReadLocked(nil)
	} else {
		b.endReadLocked(err)
	}
	return n, err
}

// tookKeptLocked notes that n bytes of what was kept have been read again.
func (b *attemptBody) tookKeptLocked(n int) {
	b.at += n
	b.read += int64(n)
	if b.lost || b.sentBy != nil && b.sentBy.hasSent() {
		b.loseLocked()
	}
}

// tookLocked keeps what was read of the source, if it may be needed again.
func (b *attemptBody) tookLocked(p []byte) {
	b.read += int64(len(p))
	if b.lost || len(b.kept)+len(p) > b.keep || b.sentBy != nil && b.sentBy.hasSent() {
		b.loseLocked()
		return
	}
	b.kept = append(b.kept, p...)
	b.at = len(b.kept)
}

// loseLocked says that no other attempt follows, and keeps only what this one has
// still to read.
func (b *attemptBody) loseLocked() {
	b.lost = true
	b.kept, b.at = b.kept[b.at:], 0
	if len(b.kept) == 0 {
		b.kept = nil
	}
	if b.shared != nil {
		b.shared.readDirectly()
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
	if b.shared != nil {
		b.shared.leave(b)
	}
	if b.reading && !b.lost && !b.released {
		b.awaitReadLocked()
	}
	if b.reading { // and may wait for this
		b.lost = true
	}
	wait := !b.released && b.replayableLocked()
	b.mu.Unlock()
	if wait {
		return nil
	}
	return b.closeSource()
}

// awaitReadLocked waits for the Read that is under way: one of a shared source ends
// at once, another one is waited for for a moment. It lets go of mu meanwhile.
func (b *attemptBody) awaitReadLocked() {
	if b.idle == nil {
		b.idle = make(chan struct{})
	}
	idle, shared := b.idle, b.shared != nil
	b.mu.Unlock()
	defer b.mu.Lock()
	if shared {
		<-idle
		return
	}
	timer := time.NewTimer(closeGrace)
	defer timer.Stop()
	select {
	case <-idle:
	case <-timer.C:
	case <-b.callerGone:
	case <-b.cancel:
	}
}

func (b *attemptBody) replayableLocked() bool {
	return !b.lost && !b.reading && (b.read == 0 || b.keep > 0)
}

// handOver returns the body of the next attempt, which begins with what has been
// read. It is nil if that is not known, or may have been processed.
func (b *attemptBody) handOver(unprocessed bool) *attemptBody {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.source == nil || b.done || !b.replayableLocked() || b.read > 0 && !unprocessed {
		return nil
	}
	next := &attemptBody{source: b.source, shared: b.shared, kept: b.kept, length: b.length, keep: b.keep}
	b.source, b.kept, b.at = nil, nil, 0
	if next.shared != nil {
		next.shared.take(next)
	}
	return next
}

// release is the other half of Close: whichever of the two comes last closes
// the source.
func (b *attemptBody) release() {
	b.mu.Lock()
	b.released = true
	b.loseLocked()
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
	source, shared, then := b.source, b.shared, b.then
	if b.done {
		source = nil
	}
	b.done, b.then = true, nil
	b.mu.Unlock()
	if then != nil {
		then()
	}
	switch {
	case source == nil:
		return nil
	case shared != nil:
		return shared.close()
	default:
		return source.Close()
	}
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
