package kubeapi

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// However long an API server was away, and whatever it did meanwhile, it is read
// within a minute once it is back.
func TestAServerThatIsBackIsReadWithinAMinute(t *testing.T) {
	t.Parallel()
	const away = 20 * time.Minute
	for name, missing := range map[string]answer{
		"refused": {err: errors.New("connection refused")},
		"mute":    {mute: true},
		"401":     {status: http.StatusUnauthorized},
		"500":     {status: http.StatusInternalServerError},
	} {
		t.Run(name, func(t *testing.T) {
			for range 20 { // the pauses are drawn
				synctest.Test(t, func(t *testing.T) {
					start := time.Now()
					client, err := NewClient(Config{Host: "http://api", HTTPClient: &http.Client{
						Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
							r := request{query: req.URL.Query()}
							switch {
							case time.Since(start) < away:
								return missing.give(req)
							case r.isStreaming():
								return first("7").give(req)
							case r.isWatch():
								return streamOf(hang).give(req)
							}
							return listOf("7", "a").give(req)
						}),
					}})
					if err != nil {
						t.Fatal(err)
					}
					ctx, cancel := context.WithTimeout(t.Context(), away+time.Minute)
					defer cancel()
					tr := new(transcript)
					lw := ListWatch[*EndpointSlice]{Client: client, Path: EndpointSlicesPath("kiada")}
					lw.Run(ctx, tr)
					if n := len(tr.calls); tr.calls[n-1] != "healthy" {
						t.Errorf("a minute later: %v", tr.failures[len(tr.failures)-1])
					}
				})
			}
		})
	}
}

// A mutableListener hands out connections in memory. From mute on, nothing that
// either side writes arrives, as where a firewall drops all packets.
type mutableListener struct {
	conns chan net.Conn
	done  chan struct{}
	muted chan struct{}
	once  sync.Once
}

func (l *mutableListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	select {
	case <-l.muted:
		<-ctx.Done()
		return nil, ctx.Err()
	default:
	}
	client, server := net.Pipe()
	l.conns <- mutableConn{server, l.muted}
	return mutableConn{client, l.muted}, nil
}

func (l *mutableListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *mutableListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *mutableListener) Addr() net.Addr { return &net.TCPAddr{} }

type mutableConn struct {
	net.Conn
	muted <-chan struct{}
}

func (c mutableConn) Write(p []byte) (int, error) {
	select {
	case <-c.muted: // it goes into the kernel's buffers
		return len(p), nil
	default:
		return c.Conn.Write(p)
	}
}

// The client of the package's own pings, and gives a dead connection up 45 s after
// its last sign of life.
func TestADeadConnectionIsFoundOutAfter45Seconds(t *testing.T) {
	t.Parallel()
	certificate := httptest.NewUnstartedServer(nil)
	certificate.StartTLS()
	defer certificate.Close()
	synctest.Test(t, func(t *testing.T) {
		l := &mutableListener{conns: make(chan net.Conn, 1), done: make(chan struct{}), muted: make(chan struct{})}
		server := &http.Server{
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.ProtoMajor != 2 {
					t.Errorf("asked over %s", r.Proto)
				}
				http.NewResponseController(w).Flush()
				<-r.Context().Done()
			}),
			TLSConfig: &tls.Config{Certificates: certificate.TLS.Certificates},
		}
		var serving sync.WaitGroup
		serving.Go(func() { server.ServeTLS(l, "", "") })
		defer serving.Wait()
		defer server.Close()

		client := newHTTPClient(nil)
		transport := client.Transport.(*http.Transport)
		transport.DialContext, transport.Proxy = l.dial, nil
		transport.TLSClientConfig.InsecureSkipVerify = true // whose certificate it is does not matter here
		defer transport.CloseIdleConnections()
		c, err := NewClient(Config{Host: "https://api"})
		if err != nil {
			t.Fatal(err)
		}
		c.credentials.http = client
		body, err := c.get(t.Context(), "/", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer body.Close()
		lived := make(chan error, 1)
		go func() {
			_, err := io.Copy(io.Discard, body)
			lived <- err
		}()
		select {
		case err := <-lived:
			t.Fatalf("it ended while the server answered pings: %v", err)
		case <-time.After(10*time.Minute + time.Second): // just after a ping
		}
		close(l.muted)
		start := time.Now()
		err = <-lived
		if took := time.Since(start); err == nil || took > 45*time.Second || took < 30*time.Second {
			t.Errorf("it ended after %v: %v", took, err)
		}
	})
}
