package main

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"sync"
)

// A clusterIP does what kube-proxy does for a ClusterIP: it sends each
// connection to a ready pod, chosen at random, and never looks at it again.
type clusterIP struct {
	listener net.Listener
	ready    func() []string // addresses of the ready pods
	serving  sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool // guarded by mu; nil once closed
}

func startClusterIP(ready func() []string) (*clusterIP, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &clusterIP{listener: listener, ready: ready, conns: map[net.Conn]bool{}}
	c.serving.Go(c.serve)
	return c, nil
}

func (c *clusterIP) addr() string { return c.listener.Addr().String() }

func (c *clusterIP) serve() {
	for {
		client, err := c.listener.Accept()
		if err != nil {
			return
		}
		if c.track(client) {
			c.serving.Go(func() { c.forward(client) })
		}
	}
}

func (c *clusterIP) forward(client net.Conn) {
	defer c.forget(client)
	ready := c.ready()
	if len(ready) == 0 {
		return
	}
	dialer := net.Dialer{Timeout: requestTimeout}
	pod, err := dialer.DialContext(context.Background(), "tcp", ready[rand.IntN(len(ready))])
	if err != nil || !c.track(pod) {
		return
	}
	defer c.forget(pod)
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(client, pod)
		_ = client.Close()
	})
	_, _ = io.Copy(pod, client)
	_ = pod.Close()
	back.Wait()
}

func (c *clusterIP) track(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conns == nil {
		_ = conn.Close()
		return false
	}
	c.conns[conn] = true
	return true
}

func (c *clusterIP) forget(conn net.Conn) {
	_ = conn.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.conns, conn)
}

func (c *clusterIP) close() {
	_ = c.listener.Close()
	c.mu.Lock()
	for conn := range c.conns {
		_ = conn.Close()
	}
	c.conns = nil
	c.mu.Unlock()
	c.serving.Wait()
}
