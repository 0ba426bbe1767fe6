package main

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sidestep-lb/sidestep/internal/bench/lb"
)

// childFlag is the hidden argument that makes a process a child: it runs the
// client of a job and tells its parent on standard output what the client
// publishes, as it happens, and what it costs, when asked.
const childFlag = "-child"

// A job is what a child is to do.
type job struct {
	Client   string // a name of watchClients
	API      api
	Services []string
	Profile  string // the path that profiles begin with; empty for none
}

// A message is a line from a child.
type message struct {
	Publication *publication `json:",omitempty"`
	Usage       *usage       `json:",omitempty"`
}

// A publication is a view that a client hands to its user.
type publication struct {
	At     int64 // nanoseconds since 1970, which all processes agree on
	CPU    time.Duration
	Usable int // how many addresses the user may send requests to
}

// A usage is what a child has used, or holds.
type usage struct {
	At  int64
	CPU time.Duration // user and system

	// Measured after a collection; zero for askCPU.

	Heap, RSS           int64 // bytes
	Goroutines, Sockets int
}

// What a parent asks for on standard input.
const (
	askCPU    = "cpu"
	askMemory = "memory"
)

func child(text string) error {
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		return err
	}
	c, err := clientNamed(j.Client)
	if err != nil {
		return err
	}
	var mu sync.Mutex // guards out
	out := json.NewEncoder(os.Stdout)
	tell := func(m message) {
		mu.Lock()
		defer mu.Unlock()
		_ = out.Encode(m) // a parent that is gone needs no news
	}

	before := memoryUsage()
	stop, err := startProfile(j.Profile)
	if err != nil {
		return err
	}
	tell(message{Usage: &before})
	err = c.start(j.API, j.Services, func(usable int) {
		tell(message{Publication: &publication{time.Now().UnixNano(), lb.CPU(), usable}})
	})
	if err != nil {
		return err
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		now := usage{At: time.Now().UnixNano(), CPU: lb.CPU()}
		if in.Text() == askMemory {
			now = memoryUsage()
		}
		tell(message{Usage: &now})
	}
	return stop()
}

func memoryUsage() usage {
	debug.FreeOSMemory()
	debug.FreeOSMemory() // what finalizers and pools held on to
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{
		Heap:       int64(m.HeapInuse),
		RSS:        rss(),
		Goroutines: runtime.NumGoroutine(),
		Sockets:    sockets(),
		At:         time.Now().UnixNano(),
		CPU:        lb.CPU(),
	}
}

func rss() int64 {
	content, _ := os.ReadFile("/proc/self/statm")
	fields := strings.Fields(string(content))
	if len(fields) < 2 {
		panic("no /proc/self/statm: this is no Linux")
	}
	pages, _ := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

func sockets() int {
	n := 0
	links, _ := filepath.Glob("/proc/self/fd/*")
	for _, link := range links {
		if to, _ := os.Readlink(link); strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n
}

// startProfile returns what ends the profile.
func startProfile(path string) (stop func() error, err error) {
	if path == "" {
		return func() error { return nil }, nil
	}
	file, err := os.Create(path + ".cpu.pprof")
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, err
	}
	return func() error {
		pprof.StopCPUProfile()
		heap, err := os.Create(path + ".heap.pprof")
		if err != nil {
			return err
		}
		defer heap.Close()
		return pprof.WriteHeapProfile(heap)
	}, nil
}
