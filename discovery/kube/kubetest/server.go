package kubetest

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Server is a running API server. [Start] or [StartTLS] makes one.
type Server struct {
	store   *store
	faults  *faults
	journal *journal

	// Set at the start and only read since.
	identity *identity // nil: plain HTTP
	address  string
	client   *http.Client

	mu     sync.Mutex
	front  *front // nil during an outage; guarded by mu, as is closed
	closed bool
}

// Start runs a server over plain HTTP at a free port of 127.0.0.1. Like
// httptest.NewServer, it panics if there is none. The caller must Close it.
func Start() *Server {
	return start(nil)
}

// StartTLS is [Start] over HTTPS, with HTTP/2, as a client in a cluster meets
// an API server. [Server.CA] has the certificate to trust.
func StartTLS() *Server {
	identity, err := newIdentity()
	if err != nil {
		panic("kubetest: " + err.Error())
	}
	return start(identity)
}

func start(identity *identity) *Server {
	s := &Server{
		store:    newStore(),
		faults:   newFaults(),
		journal:  newJournal(),
		identity: identity,
	}
	front, err := openFront("127.0.0.1:0", s.serverTLS(), s.handle)
	if err != nil {
		panic("kubetest: " + err.Error())
	}
	s.front, s.address = front, front.address

	transport := &http.Transport{}
	if identity != nil {
		transport.TLSClientConfig = &tls.Config{RootCAs: identity.roots, MinVersion: tls.VersionTLS12}
		transport.ForceAttemptHTTP2 = true
	}
	s.client = &http.Client{Transport: transport}
	return s
}

func (s *Server) serverTLS() *tls.Config {
	if s.identity == nil {
		return nil
	}
	return s.identity.config.Clone()
}

// URL is the server's address, as http://127.0.0.1:41234. It stays the same
// through outages.
func (s *Server) URL() string {
	if s.identity != nil {
		return "https://" + s.address
	}
	return "http://" + s.address
}

// Client is an HTTP client that trusts the server, without time-outs. Close
// closes its idle connections.
func (s *Server) Client() *http.Client {
	return s.client
}

// CA is the certificate, in PEM, that a client of a server made by [StartTLS]
// has to trust; else nil. It is what a pod finds in ca.crt.
func (s *Server) CA() []byte {
	if s.identity == nil {
		return nil
	}
	return slices.Clone(s.identity.pem)
}

// Close closes all connections and waits until every handler has ended. It may
// be called more than once.
func (s *Server) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.shut()
	s.client.CloseIdleConnections()
}

// Outage closes all connections at once and refuses new ones until
// [Server.Restore], as an API server that is down. It returns when no watch is
// running.
func (s *Server) Outage() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shut()
}

// shut closes the front, if there is one. The caller holds mu.
func (s *Server) shut() {
	if s.front != nil {
		s.front.close()
		s.front = nil
	}
}

// Restore ends an [Server.Outage]: the server listens at its address again,
// with its objects and its history. It is an error if another process has taken
// the port meanwhile, or if the server is closed.
func (s *Server) Restore() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errors.New("kubetest: restoring a closed server")
	}
	if s.front != nil {
		return nil
	}
	// A client's own outgoing connection may hold the port for a moment.
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		front, err := openFront(s.address, s.serverTLS(), s.handle)
		if err == nil {
			s.front = front
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("kubetest: restoring the server: %w", err)
		}
	}
}

// SetService creates or updates a Service. It panics if the Service has no
// name or no namespace.
func (s *Server) SetService(service Service) {
	s.store.set(serviceResource, clone(service))
}

// DeleteService deletes a Service and reports whether there was one. Its
// EndpointSlices stay, as they do in a cluster for a while.
func (s *Server) DeleteService(namespace, name string) bool {
	return s.store.delete(key{serviceResource, namespace, name})
}

// SetNode creates or updates a Node. It panics if the Node has no name, or has
// a namespace.
func (s *Server) SetNode(node Node) {
	s.store.set(nodeResource, clone(node))
}

// DeleteNode deletes a Node and reports whether there was one.
func (s *Server) DeleteNode(name string) bool {
	return s.store.delete(key{nodeResource, "", name})
}

// SetEndpointSlice creates or updates an EndpointSlice. Watches see it ADDED or
// MODIFIED, or DELETED if a new label takes it out of their selector, even if
// nothing in it is new. It panics if the slice has no name or no namespace.
func (s *Server) SetEndpointSlice(slice EndpointSlice) {
	s.store.set(sliceResource, clone(slice))
}

// DeleteEndpointSlice deletes an EndpointSlice and reports whether there was
// one.
func (s *Server) DeleteEndpointSlice(namespace, name string) bool {
	return s.store.delete(key{sliceResource, namespace, name})
}
