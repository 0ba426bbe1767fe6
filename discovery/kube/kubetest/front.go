package kubetest

import (
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"sync"
)

// front is one life of the listening socket, with all connections made to it:
// an outage ends it, and a restoration opens another at the same address.
type front struct {
	handler http.HandlerFunc
	server  *http.Server
	address string
	served  chan struct{} // closed when the accept loop has ended

	mu     sync.Mutex
	idle   *sync.Cond // signals that busy is 0
	closed bool       // guarded by mu, as is busy
	busy   int        // open connections and running handlers
}

// openFront listens at address and serves. A nil config means plain HTTP.
func openFront(address string, config *tls.Config, handler http.HandlerFunc) (*front, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	f := &front{handler: handler, address: listener.Addr().String(), served: make(chan struct{})}
	f.idle = sync.NewCond(&f.mu)
	f.server = &http.Server{
		Handler:   f,
		TLSConfig: config,
		ConnState: f.track,
		ErrorLog:  slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // of handshakes that tests make fail
	}
	go func() {
		defer close(f.served)
		if config != nil {
			_ = f.server.ServeTLS(listener, "", "")
		} else {
			_ = f.server.Serve(listener)
		}
	}()
	return f, nil
}

// close refuses new connections, closes all there are, and waits until nothing
// of the front is running.
func (f *front) close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()

	_ = f.server.Close()
	<-f.served

	f.mu.Lock()
	defer f.mu.Unlock()
	for f.busy > 0 {
		f.idle.Wait()
	}
}

// track counts connections. One that is accepted while the front closes is
// closed here: http.Server.Close may not have seen it.
func (f *front) track(conn net.Conn, state http.ConnState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch state {
	case http.StateNew:
		f.busy++
		if f.closed {
			_ = conn.Close()
		}
	case http.StateClosed:
		f.release()
	}
}

// ServeHTTP counts handlers: those of HTTP/2 can outlive their connection.
func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.busy++
	f.mu.Unlock()

	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.release()
	}()
	f.handler(w, r)
}

// release ends one use of the front. The caller holds mu.
func (f *front) release() {
	if f.busy--; f.busy == 0 {
		f.idle.Broadcast()
	}
}
