package httpbalancer_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sidestep-lb/sidestep/balancer"
	"github.com/sidestep-lb/sidestep/balancer/httpbalancer"
)

// pipes are connections of virtual time, to servers that answer anything.
type pipes struct {
	made, open atomic.Int64
	protocols  *http.Protocols
	retryAfter map[string]string // by address: what they refuse all requests with; not to be changed during a request
}

func (n *pipes) dial(_ context.Context, _, addr string) (net.Conn, error) {
	client, server := net.Pipe()
	n.made.Add(1)
	n.open.Add(1)
	l := &oneConn{conn: make(chan net.Conn, 1), closed: make(chan struct{})}
	l.conn <- &closeNotifier{Conn: server, closed: sync.OnceFunc(func() { close(l.closed) })}
	s := &http.Server{Protocols: n.protocols, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if text := n.retryAfter[addr]; text != "" {
			w.Header().Set("Retry-After", text)
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		if r.URL.Path == "/slow" {
			<-time.After(2 * time.Minute)
			io.WriteString(w, "late")
			return
		}
		io.WriteString(w, "ok")
	})}
	go s.Serve(l)
	return &closeNotifier{client, sync.OnceFunc(func() { n.open.Add(-1) })}, nil
}

func virtualWith(s *source, n *pipes, base *http.Transport, config httpbalancer.Config) *httpbalancer.Transport {
	n.protocols = config.Protocols
	base.DialContext = n.dial
	config.Base, config.Source, config.Balancer.Policy = base, s, balancer.RoundRobin
	return httpbalancer.New(config)
}

// countHandshakes is for a tls.Config.
func countHandshakes(n *atomic.Int64) func(tls.ConnectionState) error {
	return func(tls.ConnectionState) error {
		n.Add(1)
		return nil
	}
}
