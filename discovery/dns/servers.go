package dns

import (
	"cmp"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	miekg "github.com/miekg/dns"

	"github.com/sidestep-lb/sidestep/internal/podfiles"
)

const (
	// firstAgain is for how long a server that stood in for those before it is
	// asked first. Then one query tries the order of the list again.
	firstAgain = 30 * time.Second
	// confAgain is the least time between two looks at resolv.conf.
	confAgain = 5 * time.Second
)

// servers are the DNS servers of a Source and what its watches have learnt of
// them.
type servers struct {
	// Set at the start and read-only.
	file         string // the resolv.conf
	given        bool   // the Config names the servers; the options are the file's all the same
	timeoutGiven bool   // and for how long to wait for one

	mu      sync.Mutex
	list    []*server // replaced as a whole; guarded by mu, as all that follows
	standIn int       // the index in list of the server to ask first
	since   time.Time // when standIn was found, or those before it were tried again

	checked   time.Time   // when file was looked at
	seen      os.FileInfo // of the file at the last look, nil if it could not be used
	complaint string      // what was wrong with the file at the last look

	options podfiles.ResolvConf // the file's
	turns   uint32              // counts queries, for the option rotate
	warned  []string            // options that the log has
}

type server struct {
	addr  string // HOST:PORT
	index int    // in the list
	// plain is whether it refuses queries with EDNS0.
	plain atomic.Bool
}

func newServers(config Config) *servers {
	s := &servers{file: cmp.Or(config.ResolvConf, podfiles.ResolvConfFile), given: len(config.Servers) > 0, timeoutGiven: config.Timeout > 0}
	s.replace(config.Servers)
	return s
}

// replace is called with mu held or before there are other users. Nothing that
// was learnt of the old servers need hold for the new ones.
func (s *servers) replace(addrs []string) {
	s.list, s.standIn = make([]*server, len(addrs)), 0
	for i, addr := range addrs {
		s.list[i] = &server{addr: addr, index: i}
	}
}

// update reads resolv.conf if it has changed. A new one that cannot be used
// leaves all as it was and is logged; it is an error only while no server is
// known at all.
func (s *servers) update() error {
	old, addrs, err := s.read(time.Now())
	switch {
	case err != nil && old == nil:
		return err
	case err != nil:
		slog.Warn("sidestep: resolv.conf cannot be used, keeping the last DNS servers", "servers", old, "error", err)
	case old != nil && addrs != nil:
		slog.Info("sidestep: resolv.conf names other DNS servers", "servers", addrs, "before", old)
	}
	return nil
}

// read returns the servers up to now, those that take their place if others do,
// and what is wrong with the file if that is news.
func (s *servers) read(now time.Time) (old, addrs []string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.checked.IsZero() && len(s.list) > 0 && (s.options.NoReload || now.Sub(s.checked) < confAgain) {
		return nil, nil, nil
	}
	s.checked = now
	old = s.addrs()
	conf, err := s.changed()
	if err == nil && len(conf.servers) > 0 {
		s.options = conf.ResolvConf
		s.warnOfLocked(conf.Ignored)
	}
	switch {
	case s.given:
		return nil, nil, nil
	case err == nil:
		s.complaint = ""
	case old != nil && err.Error() == s.complaint:
		return old, nil, nil // said before
	default:
		s.complaint, s.seen = err.Error(), nil
		return old, nil, err
	}
	if len(conf.servers) == 0 || slices.Equal(conf.servers, old) {
		return old, nil, nil
	}
	s.replace(conf.servers)
	return old, conf.servers, nil
}

// changed returns what the file says if it has changed, or nothing. It is called
// with mu held.
func (s *servers) changed() (resolvConf, error) {
	// Before the file is read, so that what is written meanwhile shows next time.
	info, err := os.Stat(s.file)
	if err != nil {
		return resolvConf{}, fmt.Errorf("find the DNS servers: %w", err)
	}
	if s.seen != nil && info.ModTime().Equal(s.seen.ModTime()) && info.Size() == s.seen.Size() {
		return resolvConf{}, nil
	}
	conf, err := readResolvConf(s.file)
	if err != nil {
		return resolvConf{}, err
	}
	if conf.local && !s.given && len(s.list) > 0 && s.list[0].addr != conf.servers[0] {
		return resolvConf{}, fmt.Errorf("find the DNS servers: %s names none any more", s.file) // half written?
	}
	s.seen = info
	return conf, nil
}

// conf returns the options of resolv.conf.
func (s *servers) conf() podfiles.ResolvConf {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.options
}

// addrs is called with mu held.
func (s *servers) addrs() []string {
	var addrs []string
	for _, server := range s.list {
		addrs = append(addrs, server.addr)
	}
	return addrs
}

// order returns the servers in the order in which to try them for one query.
// Queries for AAAA, which end as soon as there is an IPv4 address, bring no
// proof that a server is back.
func (s *servers) order(qtype uint16) []*server {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.options.Rotate && len(s.list) > 1 {
		first := int(s.turns % uint32(len(s.list)))
		s.turns++
		return slices.Concat(s.list[first:], s.list[:first])
	}
	if s.standIn == 0 {
		return s.list
	}
	if now := time.Now(); now.Sub(s.since) >= firstAgain && qtype != miekg.TypeAAAA {
		s.since = now // the others go on with the stand-in meanwhile
		return s.list
	}
	others := slices.Delete(slices.Clone(s.list), s.standIn, s.standIn+1)
	return append([]*server{s.list[s.standIn]}, others...)
}

// prefer has by asked first from now on.
func (s *servers) prefer(by *server) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if by.index == s.standIn || by.index >= len(s.list) || s.list[by.index] != by {
		return // as it is already, or of a list that counts no more
	}
	s.standIn, s.since = by.index, time.Now()
}
