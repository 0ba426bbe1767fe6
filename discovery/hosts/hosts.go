// Package hosts is the discovery source of names that the pod's own hosts file
// has, such as those of hostAliases or of a bridge to a developer's machine. What
// it says goes before the Kubernetes API and DNS, as it does for every program of
// the pod (hosts(5), nsswitch.conf(5)).
//
//	file := hosts.System()
//	if file.Has("quiz.kiada") {
//		source = &hosts.Source{File: file, Host: "quiz.kiada", Next: source}
//	}
//
// A name counts as it is written: quiz.kiada.svc is another one than quiz.kiada.
package hosts

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/sidestep-lb/sidestep/discovery"
	"github.com/sidestep-lb/sidestep/internal/podfiles"
)

// A File is a hosts file, which is read again when it changes, within 5 seconds.
type File struct{ file *podfiles.Hosts }

// Open returns the File with this path, or the system's for an empty one. It reads
// nothing yet, and a file that is not there has no names.
func Open(path string) File {
	if path == "" {
		return System()
	}
	return File{podfiles.NewHosts(path)}
}

// System returns /etc/hosts.
func System() File { return File{podfiles.SystemHosts()} }

// Path returns the path of the file.
func (f File) Path() string { return f.file.File() }

// Lookup returns the addresses that the file has for a name as it is written.
// Capitals and a last dot do not count. The result must not be changed.
func (f File) Lookup(host string) []netip.Addr { return f.file.Lookup(host) }

// Has reports whether the file has the name.
func (f File) Has(host string) bool { return len(f.Lookup(host)) > 0 }

// A Source serves one name by its addresses in a hosts file for as long as they
// are there, and then by another Source. The port of the target has to be a number.
// Sources are compared as values.
type Source struct {
	File File
	// Host is the name as it was written.
	Host string
	// Next is asked from when the file has the name no more.
	Next discovery.Source
}

// again is the time between two looks at the file, which keeps what it says for
// as long.
const again = 5 * time.Second

// Canonical puts the target into the form of Next.
func (s Source) Canonical(t discovery.Target) discovery.Target {
	if c, ok := s.Next.(interface {
		Canonical(discovery.Target) discovery.Target
	}); ok {
		return c.Canonical(t)
	}
	return t
}

// Watch implements discovery.Source.
func (s Source) Watch(ctx context.Context, target discovery.Target, r discovery.Receiver) {
	told := false
	for addrs := s.File.Lookup(s.Host); len(addrs) > 0; addrs = s.File.Lookup(s.Host) {
		if !told {
			slog.Info("sidestep: the name is in the hosts file, which goes before the Kubernetes API and DNS",
				"target", target.String(), "name", s.Host, "file", s.File.Path(), "addresses", addrs)
		}
		told = true
		r.Update(s.snapshot(target, addrs))
		select {
		case <-ctx.Done():
			return
		case <-time.After(again):
		}
	}
	if told {
		slog.Info("sidestep: the name is no longer in the hosts file", "target", target.String(), "name", s.Host, "file", s.File.Path())
	}
	s.Next.Watch(ctx, target, r)
}

func (s Source) snapshot(target discovery.Target, addrs []netip.Addr) *discovery.Snapshot {
	if target.Port.Number == 0 {
		return &discovery.Snapshot{Reason: fmt.Errorf("%s: %w: %s has the name %s, and knows no ports: give the target a port number",
			target, discovery.ErrPortNotFound, s.File.Path(), s.Host)}
	}
	return discovery.NewSnapshot(endpoints(addrs, target.Port.Number))
}

// endpoints returns the IPv4 addresses, each with an IPv6 address of the name for
// clients that cannot reach it, or else the IPv6 addresses: a host of two families
// has a line for each, and would count twice.
func endpoints(addrs []netip.Addr, port uint16) []discovery.Endpoint {
	var ipv4, ipv6 []discovery.Endpoint
	for _, addr := range addrs {
		e := discovery.Endpoint{Addr: netip.AddrPortFrom(addr, port), Ready: true, Serving: true}
		if addr.Is4() {
			ipv4 = append(ipv4, e)
		} else {
			ipv6 = append(ipv6, e)
		}
	}
	if len(ipv4) == 0 {
		return ipv6
	}
	for i := range min(len(ipv4), len(ipv6)) {
		ipv4[i].AltAddr = ipv6[i].Addr
	}
	return ipv4
}
