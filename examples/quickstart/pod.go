package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/sidestep-lb/sidestep/examples/quiz"
)

// A podState is what the control plane would say of a pod.
type podState int

const (
	starting podState = iota
	ready
	terminating
	dead // it died, and the control plane has not noticed yet
	gone // it died, and the control plane knows
)

func (s podState) String() string {
	return [...]string{"starting", "ready", "terminating", "dead, still listed", "dead"}[s]
}

// A pod is a backend that speaks gRPC and HTTP on a loopback address.
type pod struct {
	// Set at the start and read-only.
	name       string
	grpc, http netip.AddrPort
	grpcServer *grpc.Server
	httpServer *http.Server
	conns      *connTracker
	serving    sync.WaitGroup

	state    podState // guarded by the cluster's mu
	inFlight atomic.Int64
}

// startPod listens on the given addresses, whose ports may be 0.
func startPod(name string, grpcAddr, httpAddr netip.AddrPort) (*pod, error) {
	p := &pod{name: name, conns: &connTracker{conns: map[net.Conn]bool{}}}
	grpcListener, err := net.Listen("tcp", grpcAddr.String())
	if err != nil {
		return nil, fmt.Errorf("start pod %s: %w", name, err)
	}
	httpListener, err := net.Listen("tcp", httpAddr.String())
	if err != nil {
		_ = grpcListener.Close()
		return nil, fmt.Errorf("start pod %s: %w", name, err)
	}
	p.grpc = grpcListener.Addr().(*net.TCPAddr).AddrPort()
	p.http = httpListener.Addr().(*net.TCPAddr).AddrPort()

	p.grpcServer = grpc.NewServer()
	quiz.Register(p.grpcServer, p)
	p.httpServer = &http.Server{
		ReadHeaderTimeout: time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if answer, err := p.Question(r.Context()); err == nil { // else the client is gone
				_ = json.NewEncoder(w).Encode(answer)
			}
		}),
	}
	p.serving.Go(func() { _ = p.grpcServer.Serve(p.conns.listen(grpcListener)) })
	p.serving.Go(func() { _ = p.httpServer.Serve(p.conns.listen(httpListener)) })
	return p, nil
}

// Question implements quiz.Server. It takes a few milliseconds, as requests do.
func (p *pod) Question(ctx context.Context) (quiz.Answer, error) {
	p.inFlight.Add(1)
	defer p.inFlight.Add(-1)
	select {
	case <-time.After(time.Millisecond + rand.N(4*time.Millisecond)):
		return quiz.Answer{Pod: p.name, Question: "What is a pod?"}, nil
	case <-ctx.Done():
		return quiz.Answer{}, ctx.Err()
	}
}

// stop does what a server should do on SIGTERM: it takes no new connection and
// finishes the requests that it has.
func (p *pod) stop() {
	var stopping sync.WaitGroup
	stopping.Go(p.grpcServer.GracefulStop)
	stopping.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := p.httpServer.Shutdown(ctx); errors.Is(err, context.DeadlineExceeded) {
			_ = p.httpServer.Close()
		}
	})
	stopping.Wait()
	p.serving.Wait()
}

// die drops everything at once, as a process that is killed does: the kernel
// resets its connections, and nobody is told.
func (p *pod) die() {
	p.conns.reset()
	p.grpcServer.Stop()
	_ = p.httpServer.Close()
	p.serving.Wait()
}

// A connTracker knows the connections of a pod, to reset them.
type connTracker struct {
	mu    sync.Mutex
	conns map[net.Conn]bool // guarded by mu
}

type trackingListener struct {
	net.Listener
	tracker *connTracker
}

type trackedConn struct {
	net.Conn
	tracker *connTracker
}

func (t *connTracker) listen(l net.Listener) net.Listener { return &trackingListener{l, t} }

func (l *trackingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.tracker.mu.Lock()
	defer l.tracker.mu.Unlock()
	l.tracker.conns[conn] = true
	return &trackedConn{conn, l.tracker}, nil
}

func (c *trackedConn) Close() error {
	c.tracker.mu.Lock()
	delete(c.tracker.conns, c.Conn)
	c.tracker.mu.Unlock()
	return c.Conn.Close()
}

// reset closes every connection with a RST instead of a FIN.
func (t *connTracker) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for conn := range t.conns {
		_ = conn.(*net.TCPConn).SetLinger(0)
		_ = conn.Close()
	}
}
