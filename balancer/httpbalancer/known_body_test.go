package httpbalancer_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sidestep-lb/sidestep/balancer/httpbalancer"
)

// A writeCounter counts the writes to connections, which over TCP are packets.
type writeCounter struct{ writes atomic.Int64 }

type countedConn struct {
	net.Conn
	n *writeCounter
}

func (c countedConn) Write(p []byte) (int, error) {
	c.n.writes.Add(1)
	return c.Conn.Write(p)
}

func (n *writeCounter) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, addr)
	return countedConn{c, n}, err
}

// A body whose WriteTo was called.
type writerTo struct {
	*strings.Reader
	calls *atomic.Int64
}

func (w writerTo) WriteTo(dst io.Writer) (int64, error) {
	w.calls.Add(1)
	return w.Reader.WriteTo(dst)
}

// What net/http does for bodies that it knows, it does for them here.
func TestBodiesAreSentInAsManyWritesAsByHTTPTransport(t *testing.T) {
	pod := start(t, "quiz-0", echo)
	var n writeCounter
	base := &http.Transport{DialContext: n.dial}
	defer base.CloseIdleConnections()
	transport := newTransport(t, httpbalancer.Config{Source: serving(pod), Base: base.Clone()})
	file := filepath.Join(t.TempDir(), "body")
	if err := os.WriteFile(file, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	var calls atomic.Int64
	for name, tt := range map[string]struct {
		body   func() io.Reader
		length int64 // 0 is what NewRequest says
	}{
		"bytes.Reader":                   {body: func() io.Reader { return bytes.NewReader([]byte("hello")) }},
		"bytes.Buffer":                   {body: func() io.Reader { return bytes.NewBufferString("hello") }},
		"strings.Reader":                 {body: func() io.Reader { return strings.NewReader("hello") }},
		"NopCloser":                      {body: func() io.Reader { return io.NopCloser(strings.NewReader("hello")) }, length: 5},
		"NopCloser of a buffer":          {body: func() io.Reader { return io.NopCloser(bytes.NewBufferString("hello")) }, length: 5},
		"NoBody":                         {body: func() io.Reader { return http.NoBody }},
		"an unknown reader":              {body: func() io.Reader { return onceBody("hello") }},
		"an unknown one of known length": {body: func() io.Reader { return onceBody("hello") }, length: 5},
		"one that writes itself":         {body: func() io.Reader { return writerTo{strings.NewReader("hello"), &calls} }},
		"file": {body: func() io.Reader {
			f, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			return f
		}, length: 5},
	} {
		count := func(rt http.RoundTripper, host string) (writes, selfWritten int64) {
			for range 3 { // the first makes the connection
				n.writes.Store(0)
				calls.Store(0)
				req, err := http.NewRequest(http.MethodPost, "http://"+host+"/", tt.body())
				if err != nil {
					t.Fatal(err)
				}
				if tt.length > 0 {
					req.ContentLength = tt.length
				}
				want := "hello"
				if name == "NoBody" {
					want = ""
				}
				if got := read(t)(rt.RoundTrip(req)); got != want {
					t.Errorf("%s: the pod got %q", name, got)
				}
			}
			return n.writes.Load(), calls.Load()
		}
		plain, plainCalls := count(base, pod.addr)
		ours, ourCalls := count(transport, "quiz.kiada")
		if ours > plain {
			t.Errorf("%s: %d writes, and %d by http.Transport", name, ours, plain)
		}
		if ourCalls < plainCalls {
			t.Errorf("%s: it wrote itself by http.Transport", name)
		}
	}
}

// wholly reads the request before it answers with it, as HTTP/1 needs.
func wholly(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.Write(body)
}

// A body in memory that nobody can make anew, as far as the request says, is sent
// elsewhere all the same.
func TestABodyInMemoryIsSentElsewhereFromItsBeginning(t *testing.T) {
	for kind, body := range map[string]func() io.Reader{
		"bytes.Reader":   func() io.Reader { return bytes.NewReader([]byte("hello")) },
		"bytes.Buffer":   func() io.Reader { return bytes.NewBufferString("hello") },
		"strings.Reader": func() io.Reader { r := strings.NewReader("so hello"); io.CopyN(io.Discard, r, 3); return r },
	} {
		transport := newTransport(t, httpbalancer.Config{
			Source: serving(start(t, "quiz-0", wholly), start(t, "quiz-1", wholly)), Base: &http.Transport{DialContext: dialBrittle},
		})
		for range 2 {
			get(t, &http.Client{Transport: transport}, "http://quiz.kiada/")
		}
		req := post(t, "http://quiz.kiada/", io.NopCloser(body()))
		req.ContentLength = 5
		if got := read(t)(transport.RoundTrip(req)); got != "hello" {
			t.Errorf("%s: the pod got %q", kind, got)
		}
	}
}

// A request that says another length than its body has is wrong, and no pod is.
func TestABodyInMemoryOfAnotherLengthIsHeldAgainstNobody(t *testing.T) {
	transport := newTransport(t, httpbalancer.Config{Source: serving(start(t, "quiz-0", echo), start(t, "quiz-1", echo))})
	for _, length := range []int64{3, 10} {
		req := post(t, "http://quiz.kiada/", io.NopCloser(strings.NewReader("hello")))
		req.ContentLength = length
		if resp, err := transport.RoundTrip(req); err == nil {
			resp.Body.Close()
		}
	}
	mustHoldNothing(t)
}

func TestABodyThatWritesItselfIsSentElsewhere(t *testing.T) {
	var calls atomic.Int64
	for _, size := range []int{5, 40_000} {
		transport := newTransport(t, httpbalancer.Config{
			Source: serving(start(t, "quiz-0", wholly), start(t, "quiz-1", wholly)), Base: &http.Transport{DialContext: dialBrittle},
		})
		for range 2 {
			get(t, &http.Client{Transport: transport}, "http://quiz.kiada/")
		}
		text := strings.Repeat("x", size)
		req := post(t, "http://quiz.kiada/", struct {
			writerTo
			io.Closer
		}{writerTo{strings.NewReader(text), &calls}, newBody("")})
		if got := read(t)(transport.RoundTrip(req)); got != text {
			t.Errorf("the pod got %d bytes of %d", len(got), size)
		}
	}
	if calls.Load() == 0 {
		t.Error("it was not asked to write itself")
	}
}
