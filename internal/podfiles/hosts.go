package podfiles

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// hostsAgain is the least time between two looks at a hosts file, as in Go's net
// package.
const hostsAgain = 5 * time.Second

// A Hosts is a hosts file, see hosts(5). It is read when it is first asked for and
// again when it has changed. It may be used from any goroutine.
type Hosts struct {
	file string // read-only

	latest atomic.Pointer[hostsTable]
	mu     sync.Mutex // held by who looks at the file
}

type hostsTable struct {
	addrs   map[string][]netip.Addr // by name, in lower case and without the last dot
	info    os.FileInfo             // of the file; nil where there is none
	checked time.Time
}

// NewHosts returns the Hosts of a file. It reads nothing yet.
func NewHosts(file string) *Hosts { return &Hosts{file: file} }

var systemHosts = sync.OnceValue(func() *Hosts { return NewHosts(HostsFile) })

// SystemHosts returns the Hosts of the system's file, the same at each call.
func SystemHosts() *Hosts { return systemHosts() }

// File returns the path of the file.
func (h *Hosts) File() string { return h.file }

// Lookup returns the addresses that the file has for a name as it is written, in
// the order of the file and each once, or nothing. Capitals do not count, nor does
// a last dot. The search path of resolv.conf is not for this file. The result must
// not be changed.
func (h *Hosts) Lookup(name string) []netip.Addr {
	return h.table().addrs[strings.ToLower(strings.TrimSuffix(name, "."))]
}

// table returns what the file says, or said within hostsAgain.
func (h *Hosts) table() *hostsTable {
	latest := h.latest.Load()
	if latest != nil && time.Since(latest.checked) < hostsAgain {
		return latest
	}
	if latest == nil {
		h.mu.Lock() // the first have to wait
	} else if !h.mu.TryLock() {
		return latest // somebody else is at it
	}
	defer h.mu.Unlock()
	if now := h.latest.Load(); now != latest {
		return now
	}
	latest = h.read(latest)
	h.latest.Store(latest)
	return latest
}

// read returns the table that comes after old, which may be nil. A file that
// cannot be read keeps what it said; one that is not there says nothing.
func (h *Hosts) read(old *hostsTable) *hostsTable {
	next := &hostsTable{checked: time.Now()}
	if old != nil {
		next.addrs, next.info = old.addrs, old.info
	}
	info, err := os.Stat(h.file) // before it is read, so that what is written meanwhile shows next time
	switch {
	case errors.Is(err, fs.ErrNotExist):
		next.addrs, next.info = nil, nil
		return next
	case err != nil, next.info != nil && info.ModTime().Equal(next.info.ModTime()) && info.Size() == next.info.Size():
		return next
	}
	text, err := readFile(h.file)
	if err != nil {
		return next
	}
	next.addrs, next.info = ParseHosts(text), info
	return next
}

// ParseHosts returns the addresses by name, in lower case and without the last
// dot. It skips, as resolvers do, the lines that it cannot read.
func ParseHosts(text string) map[string][]netip.Addr {
	addrs := make(map[string][]netip.Addr)
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		addr, err := netip.ParseAddr(fields[0])
		if err != nil {
			continue
		}
		addr = addr.Unmap()
		for _, name := range fields[1:] {
			name = strings.ToLower(strings.TrimSuffix(name, "."))
			if name != "" && !slices.Contains(addrs[name], addr) {
				addrs[name] = append(addrs[name], addr)
			}
		}
	}
	return addrs
}
