package main

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"slices"
	"time"

	"github.com/sidestep-lb/sidestep/internal/bench/lb"
)

const (
	many    = 10_000 // backends to settle
	some    = 4000   // backends of which one changes
	changes = 100
)

// scale measures what many backends cost that nothing was ever sent to.
func scale(c client) (figures, error) {
	p := newPublisher(newPublication(addresses(many)))
	heap := heapInUse()
	goroutines := runtime.NumGoroutine()
	cpu, began := lb.CPU(), time.Now()
	rt, err := c.open(p, dialMemory)
	if err != nil {
		return nil, err
	}
	if err := first(rt); err != nil {
		return nil, err
	}
	answered := time.Since(began)
	<-time.After(time.Second) // for what comes after the first answer
	f := figures{
		"settle CPU":      (lb.CPU() - cpu).Seconds(),
		"first answer":    answered.Seconds(),
		"more goroutines": float64(runtime.NumGoroutine() - goroutines),
	}
	f["memory"] = float64(heapInUse()-heap) / many
	runtime.KeepAlive(rt)
	runtime.KeepAlive(p)
	return f, nil
}

func first(rt http.RoundTripper) error {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, serviceURL, http.NoBody)
	if err != nil {
		return err
	}
	return ask(rt, req)
}

func heapInUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// change measures what it costs that one backend of many is replaced.
func change(c client) (figures, error) {
	addrs := addresses(some)
	var next []publication
	for i := range changes {
		addrs = slices.Clone(addrs)
		addrs[i*some/changes] = address(some + i)
		next = append(next, newPublication(addrs))
	}
	p := newPublisher(newPublication(addresses(some)))
	rt, err := c.open(p, dialMemory)
	if err != nil {
		return nil, err
	}
	if err := first(rt); err != nil {
		return nil, err
	}
	<-time.After(time.Second) // for what comes after the start
	idle := lb.CPU()
	for range changes {
		<-time.After(10 * time.Millisecond)
	}
	idle = lb.CPU() - idle
	cpu := lb.CPU()
	for _, n := range next {
		p.set(n)
		<-time.After(10 * time.Millisecond) // more than enough for it to be taken up
	}
	cpu = lb.CPU() - cpu
	runtime.KeepAlive(rt)
	return figures{"change": (cpu - idle).Seconds() * 1000 / changes}, nil
}

// dead counts the requests that fail when one of four backends refuses
// connections.
func dead(c client) (figures, error) {
	var addrs []netip.AddrPort
	for i := range 4 {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("hello")) }))
		defer s.Close()
		addrs = append(addrs, netip.MustParseAddrPort(s.Listener.Addr().String()))
		if i == 0 {
			s.Close()
		}
	}
	rt, err := c.open(newPublisher(newPublication(addrs)), new(net.Dialer).DialContext)
	if err != nil {
		return nil, err
	}
	failed := 0
	for range 400 {
		if first(rt) != nil {
			failed++
		}
	}
	return figures{"failed": float64(failed)}, nil
}
