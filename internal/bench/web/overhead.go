package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/sidestep-lb/sidestep/internal/bench/lb"
)

const (
	batch   = 1000 // requests
	batches = 80
)

// overhead compares the client, with four backends, with an http.Transport to one
// of them, in turns in one process: whatever else the machine does falls on both.
// The backends answer from memory, so that the client is all there is to measure.
func overhead(c client) (figures, error) {
	f := figures{}
	if err := compare(c, f, "memory", newPublisher(newPublication(addresses(4))), dialMemory); err != nil {
		return nil, err
	}
	var addrs []netip.AddrPort
	for range 4 {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }))
		defer s.Close()
		addrs = append(addrs, netip.MustParseAddrPort(s.Listener.Addr().String()))
	}
	return f, compare(c, f, "loopback", newPublisher(newPublication(addrs)), new(net.Dialer).DialContext)
}

func compare(c client, f figures, where string, p *publisher, dial dialFunc) error {
	ours, err := c.open(p, dial)
	if err != nil {
		return err
	}
	plain, err := openPlain(p, dial)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, serviceURL, http.NoBody)
	if err != nil {
		return err
	}
	// A server's request has a context that may end, as a rule.
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	withContext := req.WithContext(ctx)

	var more, moreWith, itself, allocs, allocsWith []float64
	for range batches {
		a, err := run(plain, req)
		if err != nil {
			return err
		}
		b, err := run(ours, req)
		if err != nil {
			return err
		}
		itself, more, allocs = append(itself, b.cpu), append(more, b.cpu-a.cpu), append(allocs, b.allocs-a.allocs)
		if a, err = run(plain, withContext); err != nil {
			return err
		}
		if b, err = run(ours, withContext); err != nil {
			return err
		}
		moreWith, allocsWith = append(moreWith, b.cpu-a.cpu), append(allocsWith, b.allocs-a.allocs)
	}
	f[where+" CPU"], f[where+" more CPU"], f[where+" more CPU, context"] = middle(itself), middle(more), middle(moreWith)
	f[where+" more allocs"], f[where+" more allocs, context"] = middle(allocs), middle(allocsWith)
	return nil
}

type cost struct{ cpu, allocs float64 } // µs, and their number, per request

func run(rt http.RoundTripper, req *http.Request) (cost, error) {
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpu := lb.CPU()
	for range batch {
		if err := ask(rt, req); err != nil {
			return cost{}, err
		}
	}
	used := lb.CPU() - cpu
	runtime.ReadMemStats(&after)
	return cost{float64(used) / float64(time.Microsecond) / batch, float64(after.Mallocs-before.Mallocs) / batch}, nil
}

func middle(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// A memory is a connection to a backend that answers each write at once.
type memory struct {
	answers chan struct{}
	closed  chan struct{}
	once    sync.Once
}

const answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\nhello"

func dialMemory(context.Context, string, string) (net.Conn, error) {
	return &memory{answers: make(chan struct{}, 1), closed: make(chan struct{})}, nil
}

func (m *memory) Write(p []byte) (int, error) {
	m.answers <- struct{}{}
	return len(p), nil
}

func (m *memory) Read(p []byte) (int, error) {
	select {
	case <-m.answers:
		return copy(p, answer), nil
	case <-m.closed:
		return 0, io.EOF
	}
}

func (m *memory) Close() error {
	m.once.Do(func() { close(m.closed) })
	return nil
}

func (m *memory) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (m *memory) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (m *memory) SetDeadline(time.Time) error      { return nil }
func (m *memory) SetReadDeadline(time.Time) error  { return nil }
func (m *memory) SetWriteDeadline(time.Time) error { return nil }
