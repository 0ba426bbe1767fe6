package httpbalancer_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
)

// raw runs a pod that serves each connection with a function, so that it can do
// what an http.Server would not. Connections are closed when that returns.
func raw(t testing.TB, name string, serve func(conn *net.TCPConn)) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	var served sync.WaitGroup
	served.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[conn] = true
			mu.Unlock()
			served.Go(func() {
				serve(conn.(*net.TCPConn))
				conn.Close()
				mu.Lock()
				delete(open, conn)
				mu.Unlock()
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for conn := range open {
			conn.Close()
		}
		mu.Unlock()
		served.Wait()
	})
	return &server{name: name, addr: l.Addr().String()}
}

// requests calls handle for each request of a connection, until that returns
// false or there are no more.
func requests(conn net.Conn, handle func(req *http.Request, body []byte) bool) {
	r := bufio.NewReader(conn)
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		body, err := io.ReadAll(req.Body)
		if err != nil || !handle(req, body) {
			return
		}
	}
}

// say writes an answer with the given body.
func say(conn net.Conn, body string) {
	fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// abort makes a connection end with a reset.
func abort(conn *net.TCPConn) {
	conn.SetLinger(0)
	conn.Close()
}

// A tally counts how often each request was processed.
type tally struct {
	mu   sync.Mutex
	seen map[string]int // guarded by mu
}

func (c *tally) add(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen == nil {
		c.seen = make(map[string]int)
	}
	c.seen[id]++
}

func (c *tally) of(id string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen[id]
}

// mustHaveNoDoubles fails if any request was processed twice.
func (c *tally) mustHaveNoDoubles(t testing.TB) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, n := range c.seen {
		if n > 1 {
			t.Errorf("request %s was processed %d times", id, n)
		}
	}
}

// An h2Conn is a server's side of an HTTP/2 connection, frame by frame.
type h2Conn struct {
	net.Conn
	r *bufio.Reader
}

// The frames of RFC 9113, section 6, that tests speak of.
const (
	frameData     = 0
	frameHeaders  = 1
	frameReset    = 3
	frameSettings = 4
	framePing     = 6
	frameGoAway   = 7
	frameWindow   = 8

	flagAck        = 1
	flagEndStream  = 1
	flagEndHeaders = 4
)

// h2 reads the preface and sends settings.
func h2(conn net.Conn) *h2Conn {
	c := &h2Conn{conn, bufio.NewReader(conn)}
	io.CopyN(io.Discard, c.r, int64(len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")))
	c.frame(frameSettings, 0, 0, nil)
	return c
}

func (c *h2Conn) frame(kind, flags byte, stream uint32, payload []byte) {
	head := []byte{0, 0, 0, kind, flags, 0, 0, 0, 0}
	head[0], head[1], head[2] = byte(len(payload)>>16), byte(len(payload)>>8), byte(len(payload))
	binary.BigEndian.PutUint32(head[5:], stream)
	c.Write(append(head, payload...)) // whole, whoever else writes
}

func (c *h2Conn) goAway(last, code uint32) {
	c.frame(frameGoAway, 0, 0, binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, last), code))
}

func (c *h2Conn) reset(stream, code uint32) {
	c.frame(frameReset, 0, stream, binary.BigEndian.AppendUint32(nil, code))
}

// answer sends the whole of a response.
func (c *h2Conn) answer(stream uint32, body []byte) {
	c.frame(frameHeaders, flagEndHeaders, stream, []byte{0x88}) // :status 200, RFC 7541, appendix A
	for len(body) > 16<<10 {
		c.frame(frameData, 0, stream, body[:16<<10])
		body = body[16<<10:]
	}
	c.frame(frameData, flagEndStream, stream, body)
}

// more allows the client to send more on a stream, and on the connection.
func (c *h2Conn) more(stream uint32, n int) {
	if n == 0 {
		return
	}
	c.frame(frameWindow, 0, 0, binary.BigEndian.AppendUint32(nil, uint32(n)))
	c.frame(frameWindow, 0, stream, binary.BigEndian.AppendUint32(nil, uint32(n)))
}

// streams calls handle for the headers of each request, and answers pings.
func (c *h2Conn) streams(handle func(stream uint32) bool) {
	c.frames(func(kind, _ byte, stream uint32, _ []byte) bool { return kind != frameHeaders || handle(stream) })
}

// frames calls handle for each frame of a request, and answers the others.
func (c *h2Conn) frames(handle func(kind, flags byte, stream uint32, payload []byte) bool) {
	for {
		head := make([]byte, 9)
		if _, err := io.ReadFull(c.r, head); err != nil {
			return
		}
		payload := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
		if _, err := io.ReadFull(c.r, payload); err != nil {
			return
		}
		switch kind, flags := head[3], head[4]; kind {
		case frameHeaders, frameData:
			if !handle(kind, flags, binary.BigEndian.Uint32(head[5:]), payload) {
				return
			}
		case framePing, frameSettings:
			if flags&flagAck != 0 {
				continue
			}
			if kind == frameSettings {
				payload = nil
			}
			c.frame(kind, flagAck, 0, payload)
		}
	}
}

// onceBody returns a body that can be read once and has no GetBody.
func onceBody(text string) io.Reader { return io.MultiReader(bytes.NewReader([]byte(text))) }

// counted counts calls.
type counted struct{ atomic.Int64 }
