// Package dnstest is a small DNS server on loopback whose records change while
// it runs, and which can be told to misbehave:
//
//	server, err := dnstest.Start()
//	...
//	defer server.Close()
//	server.SetA("quiz.kiada.svc.cluster.local", 5*time.Second, netip.MustParseAddr("10.0.0.1"))
//	server.Break(dnstest.Mute)
//
// It answers as CoreDNS does for the names of a cluster: a name without records
// of the type asked for gets no error and an SOA record, an unknown name gets
// NXDOMAIN and an SOA record, an SRV answer brings the addresses of its targets
// along, an alias the records behind it.
//
// It is for tests and the quickstart. It is no name server: it knows no zones,
// does not recurse and takes every name to be its own.
package dnstest

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"

	"github.com/miekg/dns"
)

// A Server serves UDP and TCP on one port of 127.0.0.1. Its methods may be
// called from any goroutine.
type Server struct {
	addr    string
	servers []*dns.Server
	serving sync.WaitGroup // one per server
	closing sync.Once

	mu      sync.Mutex
	records map[string][]dns.RR // by canonical name; guarded by mu
	fault   Fault               // nil: none; guarded by mu
	queries map[question]int    // guarded by mu
}

type question struct {
	name  string // canonical
	qtype uint16
}

// Start starts a server that knows no name yet.
func Start() (*Server, error) {
	listener, packets, err := listen()
	if err != nil {
		return nil, fmt.Errorf("start a DNS server on loopback: %w", err)
	}
	s := &Server{
		addr:    listener.Addr().String(),
		records: make(map[string][]dns.RR),
		queries: make(map[question]int),
	}
	s.serve(&dns.Server{Listener: listener, Handler: s.handler("tcp")})
	s.serve(&dns.Server{PacketConn: packets, Handler: s.handler("udp")})
	return s, nil
}

// listen opens the same port for TCP and UDP. The kernel picks the one; the
// other may be taken, so there are several attempts.
func listen() (net.Listener, net.PacketConn, error) {
	var failed error
	for range 10 {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, nil, err
		}
		packets, err := net.ListenPacket("udp", listener.Addr().String())
		if err == nil {
			return listener, packets, nil
		}
		failed = errors.Join(err, listener.Close())
	}
	return nil, nil, failed
}

// serve returns once the server can be shut down again.
func (s *Server) serve(server *dns.Server) {
	started := make(chan struct{})
	server.NotifyStartedFunc = func() { close(started) }
	s.servers = append(s.servers, server)
	s.serving.Go(func() {
		_ = server.ActivateAndServe() // ends with an error only when its socket is closed
	})
	<-started
}

// Addr returns the address that the server listens on, 127.0.0.1:PORT, for UDP
// and TCP.
func (s *Server) Addr() string { return s.addr }

// Close stops the server and waits for the queries under way. It may be called
// more than once.
func (s *Server) Close() {
	s.closing.Do(func() {
		for _, server := range s.servers {
			_ = server.Shutdown() // fails only when it does not run
		}
	})
	s.serving.Wait()
}

// Queries counts the queries for name and type, such as dns.TypeA, that arrived
// so far over UDP and TCP, those that a fault kept without an answer included.
func (s *Server) Queries(name string, qtype uint16) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queries[question{dns.CanonicalName(name), qtype}]
}

// Asked returns all that has been asked for so far, each name and type once, in
// the form "quiz.example. A", sorted.
func (s *Server) Asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var asked []string
	for q := range s.queries {
		asked = append(asked, q.name+" "+dns.Type(q.qtype).String())
	}
	slices.Sort(asked)
	return asked
}
