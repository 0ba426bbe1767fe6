package httpbalancer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// settings watches for the first SETTINGS frame of an HTTP/2 server, which says how
// many streams it allows on the connection (RFC 9113, section 6.5.2). Until then
// net/http allows 100, and a server that allows fewer refuses those that are too
// many; ClientConn does not tell when it knows better.
//
// It goes by what net/http reads: the frame is the first that the server sends, and
// when net/http reads on after its last byte, it has processed it.
type settings struct {
	seen  chan struct{} // closed when the frame has been processed, or there is none to come
	once  sync.Once
	err   error       // why there is none; set before seen is closed
	http1 atomic.Bool // what came is HTTP/1

	over chan struct{} // closed when reading has ended

	// Owned by the goroutine that reads the connection.
	head [frameHeader]byte // as much of it as has come
	got  int64             // bytes
	done bool
	last bool // over is closed
}

// frameHeader is the length of a frame's header, whose first three bytes are the
// length of the rest (RFC 9113, section 4.1).
const frameHeader = 9

// end wakes those who wait.
func (s *settings) end(err error) {
	s.once.Do(func() {
		s.err = err
		close(s.seen)
	})
}

// came is told what has been read.
func (s *settings) came(p []byte, err error) {
	if err != nil && !s.last {
		s.last = true
		close(s.over)
	}
	if s.done {
		return
	}
	if s.got < frameHeader {
		copy(s.head[s.got:], p)
	}
	s.got += int64(len(p))
	if bytes.HasPrefix(s.head[:], []byte("HTTP/")) {
		s.http1.Store(true)
	}
	if err != nil {
		s.done = true
		s.end(err)
	}
}

// processed is told that all that came has been processed, but for a frame of which
// a part is missing.
func (s *settings) processed() {
	if s.done || s.got < frameHeader {
		return
	}
	if s.got >= frameHeader+int64(s.head[0])<<16+int64(s.head[1])<<8+int64(s.head[2]) {
		s.done = true
		s.end(nil)
	}
}

// defaultHandshakeTimeout is that of http.DefaultTransport, for a base without a
// TLSHandshakeTimeout: a connection serves many requests, and not all of them have
// a deadline.
const defaultHandshakeTimeout = 10 * time.Second

var (
	errNoSettings  = errors.New("HTTP/2: the server sends no SETTINGS")
	errSpeaksHTTP1 = errors.New("HTTP/2: the server speaks HTTP/1")
	errNoStreams   = errors.New("HTTP/2: the server takes no requests on a new connection")
)

// settled waits for the SETTINGS of a new HTTP/2 connection. A connection without
// them is of no use: nothing else may come before them (RFC 9113, section 3.4).
func (c *conn) settled(ctx context.Context, limit time.Duration) error {
	s := c.countingConn.settings
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-s.seen:
	case <-timer.C:
		return fmt.Errorf("%w within %v", errNoSettings, limit)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	switch {
	case s.err != nil && s.http1.Load():
		return errSpeaksHTTP1
	case s.err != nil:
		return fmt.Errorf("%w: %w", errNoSettings, s.err)
	}
	if c.streams = c.client.Available(); c.streams == 0 {
		return errNoStreams
	}
	return nil
}
