package httpbalancer

import (
	"io"
	"sync"
)

// A sharedReader reads a body that can be read only once, for one attempt over HTTP/2
// after the other.
//
// net/http waits for the Read that it has called, also when the server has refused the
// stream. If it called the Read of an io.Pipe whose writer waits for the response, it
// would wait forever; and closing the pipe would lose the request. So the source is
// read by a goroutine, for one Read at a time, into a buffer of the sharedReader. The
// attempt waits for that until it ends. What comes later is for the next attempt, whose
// turn it is then.
//
// That is over when no other attempt can follow: the headers of the response are there,
// or more has been read than is kept. From then on the attempt reads the source itself.
type sharedReader struct {
	source io.ReadCloser // read-only
	run    func()        // fill; a go statement allocates less with it; read-only

	mu      sync.Mutex
	changed sync.Cond    // of what mu guards, which is all below
	turn    *attemptBody // who may read; nil between two attempts
	direct  bool         // without the goroutine
	filling bool         // the goroutine reads
	want    int          // how many bytes, at most
	chunk   []byte       // what it has read and nobody has taken yet; part of buffer
	buffer  *readBuffer  // nil while it is not needed
	err     error        // what the source returned in the end
}

type readBuffer [16 << 10]byte

var readBuffers = sync.Pool{New: func() any { return new(readBuffer) }}

func newSharedReader(source io.ReadCloser) *sharedReader {
	r := &sharedReader{source: source}
	r.changed.L = &r.mu
	r.run = r.fill
	return r
}

// take makes it the turn of b.
func (r *sharedReader) take(b *attemptBody) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn = b
}

// leave ends the turn of b, and a Read that waits.
func (r *sharedReader) leave(b *attemptBody) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.turn == b {
		r.turn = nil
		r.changed.Broadcast()
	}
}

// readDirectly says that no other attempt will follow.
func (r *sharedReader) readDirectly() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.direct = true
}

// read is Read for b. When the turn of b has ended it returns errDetached, and what the
// source yields is not lost.
func (r *sharedReader) read(p []byte, b *attemptBody) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	r.mu.Lock()
	for {
		switch {
		case r.turn != b:
			r.mu.Unlock()
			return 0, errDetached
		case len(r.chunk) > 0 || r.err != nil:
			n, err := r.deliverLocked(p)
			r.mu.Unlock() // not deferred: in a loop that allocates
			return n, err
		case r.filling:
			r.changed.Wait()
		case r.direct:
			r.mu.Unlock()
			return r.source.Read(p)
		default:
			r.filling, r.want = true, min(len(p), len(readBuffer{}))
			run := r.run
			go run()
		}
	}
}

// deliverLocked returns what has been read.
func (r *sharedReader) deliverLocked(p []byte) (n int, err error) {
	n = copy(p, r.chunk)
	if r.chunk = r.chunk[n:]; len(r.chunk) > 0 {
		return n, nil
	}
	if r.buffer != nil {
		readBuffers.Put(r.buffer)
		r.chunk, r.buffer = nil, nil
	}
	return n, r.err
}

// fill reads once from the source.
func (r *sharedReader) fill() {
	r.mu.Lock()
	if r.buffer == nil {
		r.buffer = readBuffers.Get().(*readBuffer)
	}
	p := r.buffer[:r.want]
	r.mu.Unlock()
	n, err := r.source.Read(p)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.filling, r.chunk, r.err = false, p[:n], err
	r.changed.Broadcast()
}

// close closes the source. Some sources, the body of a request to an http.Server for
// one, wait in Close for the Read that is under way; the caller does not.
func (r *sharedReader) close() error {
	r.mu.Lock()
	filling := r.filling
	r.mu.Unlock()
	if filling {
		go r.source.Close()
		return nil
	}
	return r.source.Close()
}
