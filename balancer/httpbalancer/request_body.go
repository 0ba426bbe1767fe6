package httpbalancer

import (
	"io"
	"net/http"
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

// maxKept is how much is kept of a body that can be read only once. It is what a
// client may send on a new HTTP/2 stream before it has heard of the server (RFC 9113,
// section 6.9.2). Over HTTP/1 it is more than net/http reads of a body before it
// writes anything: what fits in its buffers, unless a WriteBufferSize is larger.
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
func (b *requestBody) lend(x *attempt, req *http.Request) io.ReadCloser {
	if b.memory && !x.conn.http2 {
		b.current.give()
		return b.current.source
	}
	x.request = b.current
	x.request.callerGone, x.request.cancel = req.Context().Done(), req.Cancel //nolint:staticcheck // deprecated, yet http.Client sets it
	if x.conn.http2 && b.getBody == nil {
		b.current.share()
	}
	if !x.conn.http2 && (x.reused || x.conn.connPool.key.host == "") {
		// What has been sent may have been processed. Otherwise the server may still
		// say that it was not: by GOAWAY, by REFUSED_STREAM, or by an alert of TLS.
		x.request.sentBy = x
	}
	if _, ok := b.current.source.(io.WriterTo); ok && b.current.writesItself() {
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
	if next := b.current.handOver(unprocessed); next != nil {
		b.current = next
		return true
	}
	if b.getBody == nil {
		return false
	}
	source, err := b.getBody()
	if err != nil {
		return false
	}
	b.current.discard()
	b.current = &attemptBody{source: source, length: b.current.length, keep: b.current.keep}
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
