package httpbalancer_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sidestep-lb/sidestep/balancer/httpbalancer"
)

// A streamError has the shape of golang.org/x/net/http2's, which is what net/http's
// own can be had as.
type streamError struct {
	StreamID uint32
	Code     errCode
	Cause    error
}

type errCode uint32

func (streamError) Error() string { return "" }

// What a caller can ask of an error is the same as through http.Transport, whatever
// went wrong.
func TestErrorsCanBeAskedWhatThoseOfHTTPTransportCan(t *testing.T) {
	silent := func(conn *net.TCPConn) { io.Copy(io.Discard, conn) }
	h2Reset := func(code uint32) func(conn *net.TCPConn) {
		return func(conn *net.TCPConn) {
			c := h2(conn)
			c.streams(func(stream uint32) bool { c.reset(stream, code); return true })
		}
	}
	for name, tt := range map[string]struct {
		serve     func(conn *net.TCPConn) // nil: nobody listens
		protocols *http.Protocols
		timeout   time.Duration // of response headers
		deadline  time.Duration
	}{
		"refused":                {},
		"reset by the handler":   {serve: h2Reset(2), protocols: h2c()},
		"cancelled by the other": {serve: h2Reset(8), protocols: h2c()},
		"in good order": {serve: func(conn *net.TCPConn) {
			requests(conn, func(*http.Request, []byte) bool { return false })
		}},
		"by a reset": {serve: func(conn *net.TCPConn) {
			requests(conn, func(*http.Request, []byte) bool { return false })
			abort(conn)
		}},
		"by nonsense": {serve: func(conn *net.TCPConn) {
			requests(conn, func(*http.Request, []byte) bool { io.WriteString(conn, "220 mail ready\r\n"); return false })
		}},
		"late headers": {serve: silent, timeout: 20 * time.Millisecond},
		"a deadline":   {serve: silent, deadline: 20 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			pod := gone(t, "quiz-0")
			if tt.serve != nil {
				pod = raw(t, "quiz-0", tt.serve)
			}
			base := &http.Transport{Protocols: tt.protocols, ResponseHeaderTimeout: tt.timeout}
			defer base.CloseIdleConnections()
			transport := newTransport(t, httpbalancer.Config{Source: serving(pod), Base: base.Clone(), Protocols: tt.protocols})
			fail := func(rt http.RoundTripper, host string) error {
				ctx := t.Context()
				if tt.deadline > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, tt.deadline)
					defer cancel()
				}
				req, _ := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+host+"/", strings.NewReader("hello"))
				resp, err := (&http.Client{Transport: rt}).Do(req)
				if err == nil {
					resp.Body.Close()
					t.Fatal("served")
				}
				return err
			}
			plain, ours := fail(base, pod.addr), fail(transport, "quiz.kiada")
			for _, target := range []error{
				io.EOF, io.ErrUnexpectedEOF, syscall.ECONNREFUSED, syscall.ECONNRESET, context.DeadlineExceeded, context.Canceled, net.ErrClosed,
			} {
				if want, got := errors.Is(plain, target), errors.Is(ours, target); got != want {
					t.Errorf("is it %q: %v, and %v by http.Transport\n%v\n%v", target, got, want, ours, plain)
				}
			}
			var a, b *url.Error
			if !errors.As(plain, &a) || !errors.As(ours, &b) || a.Timeout() != b.Timeout() || a.Temporary() != b.Temporary() {
				t.Errorf("Timeout %v, %v, Temporary %v, %v\n%v\n%v", b.Timeout(), a.Timeout(), b.Temporary(), a.Temporary(), ours, plain)
			}
			var s, s2 streamError
			if want, got := errors.As(plain, &s), errors.As(ours, &s2); got != want || s.Code != s2.Code {
				t.Errorf("stream errors: %+v and %+v", s2, s)
			}
			var op, op2 *net.OpError
			if want, got := errors.As(plain, &op), errors.As(ours, &op2); got != want || got && op.Op != op2.Op {
				t.Errorf("net.OpError: %v, and %v by http.Transport", op2, op)
			}
			if !strings.Contains(ours.Error(), "quiz-0") || !strings.Contains(ours.Error(), "quiz.kiada") {
				t.Errorf("the error does not say where it failed: %v", ours)
			}
			if tt.protocols != nil && tt.serve != nil {
				// connect-go looks at nothing else.
				text, want := errors.Unwrap(ours).Error(), errors.Unwrap(plain).Error()
				_, code, _ := strings.Cut(text, ";")
				_, wantCode, _ := strings.Cut(want, ";")
				if !strings.HasPrefix(text, "stream error: stream ID ") || code != wantCode {
					t.Errorf("below url.Error: %q, and by http.Transport %q", text, want)
				}
			}
		})
	}
}

// A request that net/http refuses to send has the same error as by http.Transport.
func TestErrorsOfInvalidRequestsAreThoseOfNetHTTP(t *testing.T) {
	s := httptest.NewServer(nil)
	defer s.Close()
	transport := newTransport(t, httpbalancer.Config{Source: serving(&server{name: "quiz-0", addr: s.Listener.Addr().String()})})
	b := newBody("hello")
	req := post(t, "http://quiz.kiada/", b)
	req.Header["Bad\n"] = []string{""}
	resp, err := transport.RoundTrip(req)
	if err == nil {
		resp.Body.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "invalid header") {
		t.Errorf("error %v", err)
	}
	b.mustBeClosedOnce(t)
	mustHoldNothing(t)
}
