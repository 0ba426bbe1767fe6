package httpbalancer_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/sidestep-lb/sidestep/balancer/httpbalancer"
)

// refuseFirst runs a pod that refuses the first streams, some time after they have
// begun, and answers those that follow with their own body.
func refuseFirst(t testing.TB, refusals int, delay time.Duration) (pod *server, streams *counted) {
	streams = new(counted)
	return raw(t, "quiz-0", func(conn *net.TCPConn) {
		c := h2(conn)
		accepted := make(map[uint32][]byte)
		c.frames(func(kind, flags byte, stream uint32, payload []byte) bool {
			if kind == frameHeaders && streams.Add(1) <= int64(refusals) {
				if delay == 0 {
					c.reset(stream, 7)
				} else {
					time.AfterFunc(delay, func() { c.reset(stream, 7) })
				}
				return true
			}
			if kind == frameHeaders {
				accepted[stream] = []byte{}
				payload = nil
			}
			c.more(stream, len(payload))
			if accepted[stream] == nil {
				return true
			}
			accepted[stream] = append(accepted[stream], payload...)
			if flags&flagEndStream != 0 {
				c.answer(stream, accepted[stream])
			}
			return true
		})
	}), streams
}

// piped returns a body that somebody writes in the meantime.
func piped(text string) io.ReadCloser {
	r, w := io.Pipe()
	go func() {
		for part := range slices.Chunk([]byte(text), 700) {
			w.Write(part)
		}
		w.Close()
	}()
	return r
}

// A body that can be sent once only is sent as often as servers refuse it.
func TestABodyIsSentUntilItsStreamIsNotRefused(t *testing.T) {
	for name, body := range map[string]func(text string) io.ReadCloser{
		"at once": func(text string) io.ReadCloser { return io.NopCloser(onceBody(text)) },
		"slowly":  func(text string) io.ReadCloser { return io.NopCloser(&slowReader{strings.NewReader(text)}) },
		"a pipe":  piped,
		"in parts": func(text string) io.ReadCloser {
			return io.NopCloser(iotest.HalfReader(io.LimitReader(strings.NewReader(text), 3000)))
		},
	} {
		for _, delay := range []time.Duration{0, 300 * time.Microsecond} {
			t.Run(fmt.Sprintf("%s, refused after %v", name, delay), func(t *testing.T) {
				pod, streams := refuseFirst(t, 5, delay)
				transport := newTransport(t, httpbalancer.Config{Source: serving(pod), Protocols: h2c()})
				for i := range 3 {
					text := strings.Repeat(string(rune('a'+i)), 3000)
					if got := read(t)(transport.RoundTrip(post(t, "http://quiz.kiada/", body(text)))); got != text {
						t.Errorf("%d bytes came back of %d", len(got), len(text))
					}
				}
				if n := streams.Load(); n != 5+3 {
					t.Errorf("%d attempts", n)
				}
				mustHoldNothing(t)
			})
		}
	}
}

// Whoever writes the body may wait for the response before there is more of it. That
// the stream is refused must not wait for it.
func TestABodyWhoseWriterWaitsForTheResponseGoesToAnotherPod(t *testing.T) {
	for _, first := range []string{"", "hello"} {
		t.Run(fmt.Sprintf("%q", first), func(t *testing.T) {
			refusing, refused := refuseFirst(t, math.MaxInt, 0)
			dialogue := startWith(t, "quiz-1", func(w http.ResponseWriter, r *http.Request) {
				heard := make([]byte, len(first))
				io.ReadFull(r.Body, heard)
				w.Write(heard)
				http.NewResponseController(w).Flush()
				io.Copy(w, r.Body)
			}, h2c())
			transport := newTransport(t, httpbalancer.Config{Source: serving(refusing, dialogue), Protocols: h2c()})
			for refused.Load() < 3 {
				r, w := io.Pipe()
				if first != "" {
					go io.WriteString(w, first)
				}
				resp, err := transport.RoundTrip(post(t, "http://quiz.kiada/", r))
				if err != nil {
					t.Fatal(err)
				}
				io.WriteString(w, " again")
				w.Close()
				if got := read(t)(resp, nil); got != first+" again" {
					t.Errorf("answer %q", got)
				}
			}
			mustHoldNothing(t)
		})
	}
}

// What is longer than what is kept arrives whole as well, once the first of it is there.
func TestALongBodyThatIsRefusedAtOnceArrivesWhole(t *testing.T) {
	pod, streams := refuseFirst(t, 6, 0)
	transport := newTransport(t, httpbalancer.Config{Source: serving(pod), Protocols: h2c()})
	for range 10 {
		text := make([]byte, 60<<10)
		for i := range text {
			text[i] = byte(rand.Uint32())
		}
		if got := read(t)(transport.RoundTrip(post(t, "http://quiz.kiada/", io.NopCloser(io.MultiReader(bytes.NewReader(text)))))); got != string(text) {
			t.Errorf("%d bytes came back of %d", len(got), len(text))
		}
	}
	if n := streams.Load(); n != 10+6 {
		t.Errorf("%d attempts", n)
	}
}

// Some bodies cannot be closed while they are being read, such as that of a request to
// an http.Server.
func TestACallerThatGivesUpDoesNotWaitForItsBody(t *testing.T) {
	for name, refusals := range map[string]int{"refused": math.MaxInt, "not answered": 0} {
		t.Run(name, func(t *testing.T) {
			pod, _ := refuseFirst(t, refusals, 0)
			transport := newTransport(t, httpbalancer.Config{Source: serving(pod), Protocols: h2c()})
			b := &stuckBody{end: make(chan struct{}), closed: make(chan struct{})}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			mustFail(t, context.DeadlineExceeded)(transport.RoundTrip(post(t, "http://quiz.kiada/", b).WithContext(ctx)))
			close(b.end)
			<-b.closed
		})
	}
}

// A stuckBody has nothing to read before its end, and is closed after that.
type stuckBody struct {
	mu          sync.Mutex
	end, closed chan struct{}
}

func (b *stuckBody) Read([]byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	<-b.end
	return 0, io.EOF
}

func (b *stuckBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.closed)
	return nil
}
